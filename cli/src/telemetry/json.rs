//! A log line as one JSON object, flat, with the whole chain of an error's causes.
//!
//! The formatter that comes with `tracing-subscriber` writes only the outermost text of an error,
//! which is "the request failed" where an operator needs "… connection refused".

use std::error::Error;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Writes one object a line: time, level, target, the fields of the spans, those of the event.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Fields::default();
        line.put("timestamp", crate::clock::now().to_string());
        line.put("level", metadata.level().as_str());
        // The innermost span lies over the outer ones, the event over all.
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let extensions = span.extensions();
            let written = extensions.get::<FormattedFields<N>>();
            let fields = written.and_then(|it| serde_json::from_str::<Map<_, _>>(it).ok());
            for (name, value) in fields.unwrap_or_default() {
                line.put(&name, value);
            }
        }
        event.record(&mut line);
        line.put("target", metadata.target());
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

/// Names and values in the order in which they came; a name that comes again takes its place.
#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(it, _)| it == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field.name(), chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}

/// An error and its causes. A cause that its error has quoted already is not told twice.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_typed_fields_its_spans_and_every_cause_of_an_error() {
        let written = Written::default();
        let to = written.clone();
        let logs =
            super::super::json_lines(tracing_subscriber::fmt().with_writer(move || to.clone()));
        tracing::subscriber::with_default(logs.finish(), || {
            let _span = tracing::info_span!("request", request.id = "r1").entered();
            let cause = std::io::Error::other("refused");
            let error = anyhow::Error::from(cause).context("the request failed");
            let error: &(dyn Error + 'static) = error.as_ref();
            tracing::warn!(n = 3, is_on = true, error, "input \"failed\"");
        });
        let bytes = written.0.lock().unwrap().clone();
        let line: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "input \"failed\"");
        assert_eq!(line["error"], "the request failed: refused");
        assert_eq!(line["n"], 3);
        assert_eq!(line["is_on"], true);
        assert_eq!(line["request.id"], "r1");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
