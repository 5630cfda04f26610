//! Names of open sources.
//!
//! A source that was given no name gets one made from its address; it is unique among the sources
//! that are open in the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Names of open sources, so that a name made up for a new one is not yet taken.
static NAMES: Mutex<BTreeMap<Arc<str>, usize>> = Mutex::new(BTreeMap::new());

/// A name in use; free again when dropped.
#[derive(Debug)]
pub(crate) struct Name(Arc<str>);

impl Name {
    /// The given name as it is, or one made from `base` that no open source has.
    pub(crate) fn take(given: Option<Arc<str>>, base: &str) -> Self {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let name = given.unwrap_or_else(|| {
            let free = |name: &String| !names.contains_key(name.as_str());
            let numbered = (2u32..).map(|n| format!("{base}#{n}"));
            std::iter::once(base.to_owned())
                .chain(numbered)
                .find(free)
                .unwrap_or_else(|| base.to_owned())
                .into()
        });
        *names.entry(name.clone()).or_default() += 1;
        Self(name)
    }

    /// The name.
    pub(crate) fn get(&self) -> &Arc<str> {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = names.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                names.remove(&self.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_are_unique_and_given_ones_stay() {
        let first = Name::take(None, "yard.mp4");
        let second = Name::take(None, "yard.mp4");
        assert_eq!(&**first.get(), "yard.mp4");
        assert_eq!(&**second.get(), "yard.mp4#2");
        let given = Name::take(Some("yard.mp4".into()), "x");
        assert_eq!(given.get(), first.get());
        drop(first);
        assert_eq!(&**Name::take(None, "yard.mp4").get(), "yard.mp4#3");
        drop(given);
        assert_eq!(&**Name::take(None, "yard.mp4").get(), "yard.mp4");
    }
}
