//! Templates of one source: compiled once, strict, without files, and with bounded work.

use minijinja::{Environment, UndefinedBehavior, Value};
use thiserror::Error;

use super::filter;

/// Instructions that one template may execute; the largest shipped example needs about 200.
const FUEL: u64 = 50_000;

/// Why a template gave nothing. It names the template's fault, not the item's content.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct TemplateError(pub(crate) String);

/// A compiled template: its name in [`Templates`], and whether it is a single expression.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    name: String,
    is_expression: bool,
}

/// All templates of a source.
#[derive(Debug)]
pub(crate) struct Templates {
    environment: Environment<'static>,
}

impl Templates {
    pub(crate) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        // Nothing prints as nothing; the default writes `none`.
        environment.set_formatter(|out, state, value| {
            if value.is_none() {
                return Ok(());
            }
            minijinja::escape_formatter(out, state, value)
        });
        filter::add_all(&mut environment);
        Self { environment }
    }

    /// Compiles a template. One that is a single `{{ … }}` keeps the type of its value.
    pub(crate) fn add(&mut self, name: &str, source: &str) -> Result<Slot, TemplateError> {
        if let Some(expression) = single_expression(source) {
            return self.add_expression(name, expression);
        }
        self.environment
            .add_template_owned(name.to_owned(), source.to_owned())
            .map_err(|error| fault(&error))?;
        Ok(Slot {
            name: name.to_owned(),
            is_expression: false,
        })
    }

    /// Compiles an expression, written without braces.
    pub(crate) fn add_expression(
        &mut self,
        name: &str,
        expression: &str,
    ) -> Result<Slot, TemplateError> {
        self.environment
            .compile_expression_owned(expression.to_owned())
            .map_err(|error| fault(&error))?;
        self.environment
            .add_template_owned(
                name.to_owned(),
                format!("{{% set value = ({expression}) %}}"),
            )
            .map_err(|error| fault(&error))?;
        Ok(Slot {
            name: name.to_owned(),
            is_expression: true,
        })
    }

    /// The value of a template; undefined where its single expression is.
    pub(crate) fn value(&self, slot: &Slot, context: &Value) -> Result<Value, TemplateError> {
        let template = self
            .environment
            .get_template(&slot.name)
            .map_err(|error| fault(&error))?;
        if !slot.is_expression {
            let text = template.render(context).map_err(|error| fault(&error))?;
            return Ok(Value::from(text));
        }
        let captured = template
            .render_captured(context)
            .map_err(|error| fault(&error))?;
        Ok(captured.state().lookup("value").unwrap_or(Value::UNDEFINED))
    }

    /// The text of a template, trimmed; `None` where it is empty or nothing.
    pub(crate) fn text(
        &self,
        slot: &Slot,
        context: &Value,
    ) -> Result<Option<String>, TemplateError> {
        let value = self.value(slot, context)?;
        if value.is_undefined() {
            return Err(TemplateError("the value is not there".to_owned()));
        }
        if value.is_none() {
            return Ok(None);
        }
        let text = match value.as_str() {
            Some(text) => text.trim().to_owned(),
            None => value.to_string(),
        };
        Ok((!text.is_empty()).then_some(text))
    }
}

fn fault(error: &minijinja::Error) -> TemplateError {
    let text = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    TemplateError(text)
}

/// The inside of `{{ … }}`, where that is all there is.
fn single_expression(source: &str) -> Option<&str> {
    let inner = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let is_single = !inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%");
    // `{{-` and `-}}` trim white space, of which there is none here.
    is_single.then(|| {
        let inner = inner.strip_prefix('-').unwrap_or(inner);
        inner.strip_suffix('-').unwrap_or(inner).trim()
    })
}

#[cfg(test)]
mod tests {
    use minijinja::context;
    use serde_json::json;

    use super::*;

    fn evaluate(source: &str) -> Result<Value, TemplateError> {
        let mut templates = Templates::new();
        let slot = templates.add("t", source)?;
        let item = Value::from_serialize(json!({
            "mag": 4.5, "place": " Here ", "none": null, "ms": 1_746_366_018_110_i64,
            "vtec": ["/O.CON.KEKA.SC.Y.0132.000000T0000Z-241209T2300Z/"],
        }));
        templates.value(&slot, &context! { item })
    }

    #[test]
    fn a_single_expression_keeps_its_type() {
        assert_eq!(evaluate("{{ item.mag }}"), Ok(Value::from(4.5)));
        assert_eq!(evaluate("M {{ item.mag }}"), Ok(Value::from("M 4.5")));
        assert_eq!(
            evaluate("{{ item.mag }}{{ item.mag }}"),
            Ok(Value::from("4.54.5"))
        );
        assert_eq!(evaluate("[{{ item.none }}]"), Ok(Value::from("[]")));
    }

    #[test]
    fn what_is_not_there_is_undefined_alone_and_an_error_inside_a_text() {
        assert!(evaluate("{{ item.nope }}").unwrap().is_undefined());
        assert!(evaluate("M {{ item.nope }}").is_err());
        assert!(evaluate("{{ item.nope.nope }}").is_err());
    }

    #[test]
    fn filters_read_times_and_keys() {
        assert_eq!(
            evaluate("{{ item.ms | from_ms }}"),
            Ok(Value::from("2025-05-04T13:40:18.11Z"))
        );
        assert_eq!(
            evaluate("{{ (item.vtec[0] | split('.'))[2:6] | join('.') }}"),
            Ok(Value::from("KEKA.SC.Y.0132"))
        );
        assert!(evaluate("{{ item.place | from_ms }}").is_err());
    }

    #[test]
    fn a_template_that_never_ends_runs_out_of_fuel() {
        let endless =
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(evaluate(endless).unwrap_err().to_string().contains("fuel"));
    }

    #[test]
    fn no_file_can_be_read() {
        assert!(evaluate("{% include '/etc/hostname' %}").is_err());
    }

    #[test]
    fn a_broken_template_is_refused_when_it_is_compiled() {
        assert!(Templates::new().add("t", "{{ item.").is_err());
        assert!(Templates::new().add("t", "{{ item | nofilter }}").is_ok());
        assert!(Templates::new().add_expression("t", "a b c").is_err());
    }
}
