//! The template filters that fanfare adds to minijinja's own.

use jiff::Timestamp;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::text;
use super::time::parse_time;

/// Adds every filter.
pub(crate) fn add_all(environment: &mut Environment<'static>) {
    environment.add_filter("from_ms", |it: Value| from_unix(&it, 1.0));
    environment.add_filter("from_s", |it: Value| from_unix(&it, 1000.0));
    environment.add_filter("date", date);
    environment.add_filter("plain", |it: Value| {
        Ok::<_, Error>(text::plain(&words(&it)?))
    });
    environment.add_filter("slug", |it: Value| Ok::<_, Error>(text::slug(&words(&it)?)));
    environment.add_filter("cut", |it: Value, n: usize| {
        Ok::<_, Error>(text::cut(&words(&it)?, n))
    });
}

/// Nothing is an empty text; what is not there is an error, as it is without a filter.
fn words(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    Ok(if value.is_none() {
        String::new()
    } else {
        value.to_string()
    })
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Unix time in units of `unit_ms` milliseconds, as a number or as its text → RFC 3339.
fn from_unix(value: &Value, unit_ms: f64) -> Result<Value, Error> {
    if value.is_none() {
        return Ok(Value::from(()));
    }
    let number = f64::try_from(value.clone())
        .ok()
        .or_else(|| value.as_str()?.trim().parse().ok())
        .ok_or_else(|| invalid("is no Unix time"))?;
    let ms = (number * unit_ms).round();
    // Year 1 to 9999; jiff refuses the rest too, but casting wraps.
    if !ms.is_finite() || ms.abs() > 253_402_207_200_000.0 {
        return Err(invalid("is no Unix time of this era"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded above, and already rounded"
    )]
    let time = Timestamp::from_millisecond(ms as i64).map_err(|_| invalid("is no Unix time"))?;
    Ok(Value::from(time.to_string()))
}

/// A date in any of the usual forms → RFC 3339.
fn date(value: Value) -> Result<Value, Error> {
    if value.is_none() {
        return Ok(Value::from(()));
    }
    value
        .as_str()
        .and_then(parse_time)
        .map(|it| Value::from(it.to_string()))
        .ok_or_else(|| invalid("is no date"))
}
