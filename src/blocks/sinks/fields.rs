//! Fields that several sinks have.

use super::shapes::{FLAG, LITERAL, OPERATIONS, PARAMETERS, WHOLE};
use crate::blocks::Field;

pub(super) const FIRE_AND_FORGET: Field = Field::optional("fire_and_forget", FLAG, "true")
    .about("Whether the step goes on without waiting for the answer.");
pub(super) const DISABLE_SINK: Field =
    Field::optional("disable_sink", FLAG, "false").about("Whether nothing is sent.");
pub(super) const MESSAGE_PARAMETERS: Field =
    Field::optional("message_parameters", PARAMETERS, "{}")
        .about("Values for the placeholders.")
        .always_visible();
pub(super) const MESSAGE_OPERATIONS: Field =
    Field::optional("message_parameters_operations", OPERATIONS, "{}")
        .about("Operations on values before they are put in.");
pub(super) const COOLDOWN: Field = Field::optional("cooldown_seconds", WHOLE, "5")
    .about("Seconds between two attempts; 0 for no limit.")
    .always_visible();
pub(super) const SHOWN_MESSAGE: Field = Field::required("message", LITERAL)
    .about("Text with placeholders `{{ $parameters.name }}`.")
    .extra(r#"{"always_visible": true, "hide_description": true, "multiline": true}"#);
pub(super) const MESSAGE: Field = Field::required("message", LITERAL)
    .about("Text with placeholders `{{ $parameters.name }}`.")
    .extra(r#"{"multiline": true}"#);
pub(super) const COOLDOWN_SESSION: Field = Field::required("cooldown_session_key", LITERAL)
    .about("Apart from the account, what the cooldown is counted for.")
    .extra(r#"{"hidden": true}"#);
