//! Which models a piece of work used, and which of them it had to load: what `x-model-id` and its
//! companions tell on an answer. Gathered per thread, for a piece of work that stays in one.

use std::cell::RefCell;
use std::time::Duration;

/// A model that was used.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelUse {
    /// The id that was asked for.
    pub id: String,
    /// How long loading it took, if it was not there.
    pub loaded_in: Option<Duration>,
}

thread_local! {
    static USES: RefCell<Option<Vec<ModelUse>>> = const { RefCell::new(None) };
}

/// Does something and tells which models it used, in the order of their first use.
pub fn watch<T>(work: impl FnOnce() -> T) -> (T, Vec<ModelUse>) {
    let outer = USES.replace(Some(Vec::new()));
    let done = work();
    let uses = USES.replace(outer).unwrap_or_default();
    (done, uses)
}

/// Notes that a model is used, also one that cannot be had.
pub(crate) fn note(id: &str, loaded_in: Option<Duration>) {
    USES.with_borrow_mut(|uses| {
        let Some(uses) = uses else { return };
        match uses.iter_mut().find(|known| known.id == id) {
            Some(known) => known.loaded_in = known.loaded_in.or(loaded_in),
            None => uses.push(ModelUse {
                id: id.to_owned(),
                loaded_in,
            }),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_told_once_and_only_to_who_asks() {
        note("nobody/1", None);
        let ((), uses) = watch(|| {
            note("a/1", None);
            note("b/1", None);
            note("a/1", Some(Duration::from_millis(3)));
        });
        let ids: Vec<&str> = uses.iter().map(|u| u.id.as_str()).collect();
        assert_eq!(ids, ["a/1", "b/1"]);
        assert_eq!(uses[0].loaded_in, Some(Duration::from_millis(3)));
        assert_eq!(watch(|| ()).1, []);
    }
}
