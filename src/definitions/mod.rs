//! Where definitions come from and how fresh they are.
//!
//! A [`DefinitionStore`] finds definitions by [`DefinitionKey`]: on the platform, in the watched
//! folder, in files. Every answer is a [`Fetched`]: the definition and the stamp that says which one
//! it is, where it came from, when, and whether it may be out of date. A [`Refresher`] keeps what is
//! used fresh in the background; a [`Subscription`] tells a stream of changed content.
//!
//! # What stands in for what
//!
//! | the platform | memory has it | only the disk has it | nothing has it |
//! | --- | --- | --- | --- |
//! | answers | its answer, to memory and disk | the same | the same |
//! | 429, 5xx, no answer, garbage, offline mode | memory | disk | error |
//! | 401, 402, 403, 404, 423 | memory | error | error |
//!
//! Memory goes on past its time-to-live then, with a stamp that is stale and names the error. A
//! request with [`Demand::Fresh`] always asks the platform; if that fails it gets the disk copy,
//! stamped as one, and if the platform refuses, the error.
//!
//! Names of environment variables, memory keys and files are those of section 2 of the server
//! specification; a folder of disk copies can be shared with the reference. Redis is not used.

mod answer;
pub mod difference;
pub mod disk;
pub mod error;
mod file;
mod fingerprint;
pub mod freshness;
pub mod key;
mod library;
pub(crate) mod platform;
pub mod provenance;
pub mod refresher;
mod schedule;
pub mod settings;
pub mod stamp;
pub mod store;
pub mod subscription;

pub use answer::{Answer, unwrap_file};
pub use difference::{Difference, difference};
pub use error::{DefinitionError, PlatformError};
pub(crate) use file::{Look, Watched};
pub use freshness::{Freshness, Outcome, Refusal};
pub use key::{ApiKey, DefinitionKey, PlatformKey};
pub use library::{LazyLibrary, StoreLibrary};
pub use platform::Greeting;
pub use provenance::{Origin, Provenance};
pub use refresher::Refresher;
pub use settings::Settings;
pub(crate) use settings::behind;
pub use stamp::{DefinitionStamp, Fetched, Source, Trouble};
pub use store::{Compiled, DefinitionStore, Demand};
pub use subscription::Subscription;
