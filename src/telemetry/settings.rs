//! Where traces go and which are sampled, by the variables that OpenTelemetry has for that.

use std::time::Duration;

use opentelemetry_sdk::trace::Sampler;

/// Path of traces below the address of a collector (OTLP/HTTP).
const PATH: &str = "v1/traces";

/// A variable has a value that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: `{value}` {wanted}")]
pub struct SettingsError {
    name: &'static str,
    value: String,
    wanted: &'static str,
}

/// Which traces are sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampling {
    /// So many of those that begin here, from 0 to 1; whether others are is decided where they began.
    ParentOr(f64),
    /// So many of all.
    Ratio(f64),
}

impl Sampling {
    pub(super) fn sampler(self) -> Sampler {
        let of = |ratio: f64| match ratio {
            r if r >= 1.0 => Sampler::AlwaysOn,
            r if r <= 0.0 => Sampler::AlwaysOff,
            r => Sampler::TraceIdRatioBased(r),
        };
        match self {
            Self::ParentOr(ratio) => Sampler::ParentBased(Box::new(of(ratio))),
            Self::Ratio(ratio) => of(ratio),
        }
    }
}

/// Where traces go and which are sampled.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// Address to which traces are posted; `None` makes none. Never shown: it may hold a key.
    pub endpoint: Option<String>,
    /// Headers of each post; may hold keys.
    pub headers: Vec<(String, String)>,
    /// How long one post may take.
    pub timeout: Duration,
    /// Longest time until a trace is sent.
    pub delay: Duration,
    /// Most spans of a post.
    pub batch: usize,
    /// Name of the service.
    pub service: String,
    /// Further attributes of it.
    pub attributes: Vec<(String, String)>,
    /// Which traces are sampled.
    pub sampling: Sampling,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("on", &self.endpoint.is_some())
            .field("service", &self.service)
            .field("sampling", &self.sampling)
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    /// No collector; the standard's values for the rest.
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            delay: Duration::from_secs(5),
            batch: 512,
            service: "millrace".into(),
            attributes: Vec::new(),
            sampling: Sampling::ParentOr(1.0),
        }
    }
}

impl Settings {
    /// From the environment: `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`, taken as it
    /// stands), `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_SERVICE_NAME`,
    /// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` with `OTEL_TRACES_SAMPLER_ARG`,
    /// `OTEL_BSP_SCHEDULE_DELAY`, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, and `OTEL_SDK_DISABLED` or
    /// `OTEL_TRACES_EXPORTER=none` for none. `collector` stands before the addresses.
    ///
    /// # Errors
    /// The variable whose value makes no sense.
    pub fn from_env(
        look: impl Fn(&str) -> Option<String>,
        collector: Option<&str>,
    ) -> Result<Self, SettingsError> {
        let look = |name: &str| {
            let value = look(name)?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let either = |traces: &str, all: &str| look(traces).or_else(|| look(all));
        let defaults = Self::default();
        let off = look("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"))
            || look("OTEL_TRACES_EXPORTER").is_some_and(|v| v == "none");
        let below = |base: &str| format!("{}/{PATH}", base.trim_end_matches('/'));
        let endpoint = match collector {
            Some(base) => Some(below(base)),
            None => look("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
                .or_else(|| look("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| below(&base))),
        };
        let headers = either(
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "OTEL_EXPORTER_OTLP_HEADERS",
        );
        let timeout = "OTEL_EXPORTER_OTLP_TIMEOUT";
        let attributes = pairs(look("OTEL_RESOURCE_ATTRIBUTES").as_deref());
        let named = attributes.iter().find(|(key, _)| key == "service.name");
        let named = named.map(|(_, name)| name.clone());
        Ok(Self {
            endpoint: endpoint.filter(|_| !off),
            headers: pairs(headers.as_deref()),
            timeout: number(
                timeout,
                either("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", timeout),
            )?
            .map_or(defaults.timeout, Duration::from_millis),
            delay: number("OTEL_BSP_SCHEDULE_DELAY", look("OTEL_BSP_SCHEDULE_DELAY"))?
                .map_or(defaults.delay, Duration::from_millis),
            batch: number(
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                look("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
            )?
            .and_then(|n| usize::try_from(n).ok())
            .map_or(defaults.batch, |n| n.clamp(1, 65_536)),
            service: look("OTEL_SERVICE_NAME")
                .or(named)
                .unwrap_or(defaults.service),
            attributes,
            sampling: sampling(look("OTEL_TRACES_SAMPLER"), look("OTEL_TRACES_SAMPLER_ARG"))?,
        })
    }
}

fn number(name: &'static str, value: Option<String>) -> Result<Option<u64>, SettingsError> {
    let wrong = |value: String| SettingsError {
        name,
        value,
        wanted: "is no whole number",
    };
    value
        .map(|text| text.parse().map_err(|_| wrong(text)))
        .transpose()
}

fn sampling(name: Option<String>, argument: Option<String>) -> Result<Sampling, SettingsError> {
    let ratio = match argument {
        None => 1.0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|ratio| (0.0..=1.0).contains(ratio))
            .ok_or(SettingsError {
                name: "OTEL_TRACES_SAMPLER_ARG",
                value: text,
                wanted: "is no number from 0 to 1",
            })?,
    };
    match name.as_deref().unwrap_or("parentbased_always_on") {
        "always_on" => Ok(Sampling::Ratio(1.0)),
        "always_off" => Ok(Sampling::Ratio(0.0)),
        "traceidratio" => Ok(Sampling::Ratio(ratio)),
        "parentbased_always_on" => Ok(Sampling::ParentOr(1.0)),
        "parentbased_always_off" => Ok(Sampling::ParentOr(0.0)),
        "parentbased_traceidratio" => Ok(Sampling::ParentOr(ratio)),
        other => Err(SettingsError {
            name: "OTEL_TRACES_SAMPLER",
            value: other.to_owned(),
            wanted: "is none of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio",
        }),
    }
}

/// `key=value` pairs with commas between them, values percent-encoded (OpenTelemetry's form).
fn pairs(text: Option<&str>) -> Vec<(String, String)> {
    let pairs = text.unwrap_or_default().split(',');
    let pairs = pairs.filter_map(|pair| pair.split_once('='));
    let plain = |text: &str| {
        let query = format!("v={}", text.trim().replace('+', "%2B"));
        let mut found = url::form_urlencoded::parse(query.as_bytes());
        found
            .next()
            .map_or_else(String::new, |(_, v)| v.into_owned())
    };
    pairs
        .map(|(key, value)| (key.trim().to_owned(), plain(value)))
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], collector: Option<&str>) -> Result<Settings, SettingsError> {
        let look = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::from_env(look, collector)
    }

    #[test]
    fn nothing_is_traced_unless_somebody_says_where_to() {
        assert_eq!(read(&[], None), Ok(Settings::default()));
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        let at = |pairs: &[(&str, &str)], collector| read(pairs, collector).unwrap().endpoint;
        assert_eq!(
            at(&[base], None).unwrap(),
            "http://collector:4318/v1/traces"
        );
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other/x");
        assert_eq!(at(&[base, whole], None).unwrap(), "http://other/x");
        let named = at(&[base, whole], Some("http://mine:1"));
        assert_eq!(named.unwrap(), "http://mine:1/v1/traces");
        assert_eq!(at(&[base, ("OTEL_SDK_DISABLED", "TRUE")], None), None);
        assert_eq!(at(&[base, ("OTEL_TRACES_EXPORTER", "none")], None), None);
    }

    #[test]
    fn the_standard_variables_are_read() {
        let settings = read(
            &[
                ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x = y+z"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
                ("OTEL_BSP_SCHEDULE_DELAY", "100"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=gate,site=north"),
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ],
            None,
        )
        .unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(settings.headers, [pair("api-key", "a b"), pair("x", "y+z")]);
        assert_eq!(settings.timeout, Duration::from_millis(2500));
        assert_eq!(settings.delay, Duration::from_millis(100));
        assert_eq!(settings.service, "gate");
        assert_eq!(settings.attributes[1], pair("site", "north"));
        assert_eq!(settings.sampling, Sampling::ParentOr(0.25));
        assert!(!format!("{settings:?}").contains("a b"), "no keys");
    }

    #[test]
    fn values_that_make_no_sense_are_refused_by_name() {
        for (name, value) in [
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1"),
        ] {
            let error = read(&[(name, value)], None).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains(value), "{error}");
        }
    }
}
