//! Places and names of sessions.

use std::collections::HashSet;
use std::sync::Barrier;

use super::*;
use crate::clock::SystemClock;

#[test]
fn clients_that_choose_the_same_name_at_once_get_places_of_their_own() {
    const CLIENTS: usize = 16;
    let folder = tempfile::tempdir().unwrap();
    let platform = "http://127.0.0.1:9".parse().unwrap();
    let store = crate::definitions::Settings::new(platform, folder.path());
    let store = DefinitionStore::open(store, Arc::new(SystemClock::default())).unwrap();
    let settings = Settings {
        max_sessions: CLIENTS,
        ..Settings::default()
    };
    let sessions = Sessions::new(Services::default(), Arc::new(store), settings);
    let together = Barrier::new(CLIENTS);
    let take = || {
        let mut spec = spec::tests::spec(Feed::Track);
        spec.id = Some("mine".into());
        together.wait();
        sessions.take_place(&mut spec).unwrap()
    };
    for _ in 0..50 {
        let places: Vec<_> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(take)).collect();
            clients.into_iter().map(|c| c.join().unwrap()).collect()
        });
        let names: HashSet<&str> = places.iter().map(|(record, _)| &*record.id).collect();
        assert_eq!((names.len(), names.contains("mine")), (CLIENTS, true));
        assert_eq!(sessions.list().len(), CLIENTS);
        let full = sessions.take_place(&mut spec::tests::spec(Feed::Track));
        assert!(matches!(full, Err(WebrtcError::Full { limit: CLIENTS })));
        drop(places);
        assert_eq!(sessions.list(), Vec::<String>::new());
    }
}
