//! From which score on a detection counts.

use std::sync::Arc;

use crate::models::package::RecommendedParameters;

/// What a request says about scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Confidence {
    /// This score for every class.
    Value(f64),
    /// The default of the architecture.
    Default,
    /// What training found to be best: per class, else for all, else the default.
    Best,
}

/// The least score of each class. Compared as 32-bit floats, as the scores are.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    all: f32,
    per_class: Vec<f32>,
}

impl Thresholds {
    /// The thresholds of a request to a model.
    pub fn new(
        confidence: Confidence,
        default: f32,
        recommended: Option<&RecommendedParameters>,
        class_names: &[Arc<str>],
    ) -> Self {
        let one = |all: f32| Self {
            all,
            per_class: Vec::new(),
        };
        let recommended = match confidence {
            Confidence::Value(value) => return one(value as f32),
            Confidence::Default => return one(default),
            Confidence::Best => recommended,
        };
        let Some(all) = recommended.and_then(|r| r.confidence) else {
            return one(default);
        };
        match recommended.and_then(|r| r.per_class_confidence.as_ref()) {
            Some(map) if !map.is_empty() => Self {
                all,
                per_class: class_names
                    .iter()
                    .map(|name| map.get(&**name).copied().unwrap_or(all))
                    .collect(),
            },
            _ => one(all),
        }
    }

    /// The threshold of a class.
    pub fn of(&self, class: usize) -> f32 {
        self.per_class.get(class).copied().unwrap_or(self.all)
    }

    /// The least threshold of all classes: no detection has a lower score.
    pub fn least(&self) -> f32 {
        self.per_class.iter().copied().fold(self.all, f32::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(confidence: Confidence, recommended: &str) -> [f32; 2] {
        let recommended: RecommendedParameters = serde_json::from_str(recommended).unwrap();
        let names = ["a".into(), "b".into()];
        let thresholds = Thresholds::new(confidence, 0.4, Some(&recommended), &names);
        [thresholds.of(0), thresholds.of(1)]
    }

    #[test]
    fn a_number_and_the_default_hold_for_every_class() {
        let per_class = r#"{"confidence": 0.5, "per_class_confidence": {"a": 0.1}}"#;
        assert_eq!(of(Confidence::Value(0.25), per_class), [0.25, 0.25]);
        assert_eq!(of(Confidence::Default, per_class), [0.4, 0.4]);
    }

    #[test]
    fn best_takes_the_class_then_the_model_then_the_default() {
        let per_class = r#"{"confidence": 0.5, "per_class_confidence": {"a": 0.1}}"#;
        assert_eq!(of(Confidence::Best, per_class), [0.1, 0.5]);
        assert_eq!(
            of(Confidence::Best, r#"{"confidence": 0.55}"#),
            [0.55, 0.55]
        );
        let without_all = r#"{"per_class_confidence": {"a": 0.1}}"#;
        assert_eq!(of(Confidence::Best, without_all), [0.4, 0.4]);
        assert_eq!(Thresholds::new(Confidence::Best, 0.4, None, &[]).of(7), 0.4);
    }
}
