//! The device's document on the wire, in and out. Pure.

pub(crate) mod schema;

use fanfare_nats::device::{Circle, Holding, MAX_SUBSCRIPTIONS, MAX_TOKEN_LEN};
use fanfare_nats::key::NewSecret;
use fanfare_nats::tenant::written_text;
use fanfare_nats::{AppName, Device, DeviceId, Filter, Pattern, Subscription, Tenant, Token};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::access::{Claim, Leave};
use crate::body::MAX_USER;
use crate::fields::{Fields, Flaw, Flaws, Read};
use crate::problem::Problem;
use crate::quota::Quotas;
use crate::text;

/// The longest tag that RFC 5646 section 4.4.1 asks to make room for.
const MAX_LOCALE: usize = 35;
const MAX_TIME_ZONE: usize = 64;
const MAX_FILTERS: usize = 8;
const MAX_FIELD: usize = 64;
const MAX_ANY_OF: usize = 64;
/// Half the earth's circumference.
const MAX_KM: f64 = 20_040.0;

/// What a client wants a device to be; when its token was registered is not the client's to say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    app: AppName,
    token: Token,
    user: Option<String>,
    locale: Option<String>,
    time_zone: Option<String>,
    subscriptions: Vec<Subscription>,
}

impl Wanted {
    /// Counts a registration of it.
    ///
    /// # Errors
    /// A quota of its user or its app is used up.
    pub(crate) fn count(&self, quotas: &Quotas, tenant: &Tenant) -> Result<(), Problem> {
        quotas.app(tenant.clone(), &self.app)?;
        self.user.as_deref().map_or(Ok(()), |it| quotas.user(it))
    }

    /// The same as it is stored.
    fn of(mut self, tenant: &Tenant) -> Self {
        self.user = self.user.map(|it| tenant.text(&it));
        for it in &mut self.subscriptions {
            it.pattern = tenant.pattern(&it.pattern);
        }
        self
    }

    /// The document to store over the one before: a token keeps the time it was first registered,
    /// another token is registered now. The same token under another app is another address. The
    /// secret stays too; whoever registers gets the new one. A token that the device has already keeps its
    /// place, also under another app: it is the same installation.
    pub(crate) fn over(
        self,
        before: Option<&Device>,
        leave: Leave,
        new_secret: Option<&NewSecret>,
        now: Timestamp,
    ) -> Device {
        let same = before.filter(|it| *it.asked_token() == self.token && it.app == self.app);
        let held = before.filter(|it| it.pending.is_none() && it.token == self.token);
        let secret = match before {
            Some(before) if leave != Leave::Register => before.secret,
            Some(_) | None => new_secret.map(NewSecret::hash),
        };
        let user = match leave {
            Leave::Full => self.user,
            Leave::Own | Leave::Register => before.and_then(Device::asked_user).map(str::to_owned),
        };
        Device {
            app: self.app,
            token: self.token,
            user,
            locale: self.locale,
            time_zone: self.time_zone,
            subscriptions: self.subscriptions,
            registered_at: same.map_or(now, |it| it.registered_at),
            last_seen: Some(now),
            secret,
            holding: held.map_or_else(Holding::default, |it| it.holding),
            pending: None,
        }
    }

    /// What it says that its writer has to be entitled to.
    pub(crate) fn claim(&self) -> Claim<'_> {
        Claim {
            app: &self.app,
            token: &self.token,
            user: self.user.as_deref(),
            follows_all: (self.subscriptions.iter()).any(|it| it.pattern.written() == ">"),
        }
    }
}

/// Reads a document of a tenant; `apps` are the names that exist, if that is known.
///
/// # Errors
/// All fields that are not valid.
pub(crate) fn read(
    body: Value,
    tenant: &Tenant,
    apps: Option<&[AppName]>,
) -> Result<Wanted, Vec<Flaw>> {
    let mut flaws = Flaws::default();
    let wanted = read_fields(body, apps, &mut flaws).map(|it| it.of(tenant));
    flaws.judge(wanted)
}

fn read_fields(body: Value, apps: Option<&[AppName]>, flaws: &mut Flaws) -> Option<Wanted> {
    let mut fields = Fields::open(body, "", flaws)?;
    let app = fields.required("app", flaws, |it| app(it, apps));
    let token = fields.required("token", flaws, token);
    let user = fields.optional("user", flaws, |it| text::name(it, MAX_USER));
    let locale = fields.optional("locale", flaws, |it| tag(it, MAX_LOCALE, "-_"));
    let time_zone = fields.optional("time_zone", flaws, |it| tag(it, MAX_TIME_ZONE, "/_+-"));
    let mut subscriptions: Vec<Subscription> = Vec::new();
    for it in fields.items("topics", MAX_SUBSCRIPTIONS, flaws, subscription) {
        if !subscriptions.contains(&it) {
            subscriptions.push(it);
        }
    }
    fields.finish(flaws);
    Some(Wanted {
        app: app?,
        token: token?,
        user,
        locale,
        time_zone,
        subscriptions,
    })
}

/// Reads `{"filters": […]}`, what a pattern of the path is followed with.
///
/// # Errors
/// All fields that are not valid.
pub(crate) fn filters(body: Value) -> Result<Vec<Filter>, Vec<Flaw>> {
    let mut flaws = Flaws::default();
    let filters = Fields::open(body, "", &mut flaws).map(|mut fields| {
        let filters = filter_list(&mut fields, &mut flaws);
        fields.finish(&mut flaws);
        filters
    });
    flaws.judge(filters)
}

fn filter_list(fields: &mut Fields, flaws: &mut Flaws) -> Vec<Filter> {
    fields.items("filters", MAX_FILTERS, flaws, |it, at, flaws| {
        flaws.keep(at, filter(it))
    })
}

fn app(value: Value, apps: Option<&[AppName]>) -> Read<AppName> {
    let app = AppName::parse(&text::string(value)?)
        .map_err(|_| "must have 1 to 20 of a-z, 0-9, `_` and `-`")?;
    match apps {
        Some(apps) if !apps.contains(&app) => Err("is no configured app".into()),
        Some(_) | None => Ok(app),
    }
}

fn token(value: Value) -> Read<Token> {
    Token::parse(&text::string(value)?).ok_or_else(|| {
        format!("must have 1 to {MAX_TOKEN_LEN} printable ASCII characters without spaces").into()
    })
}

/// A language tag or zone name by its characters alone: whether it is known depends on tables that
/// this machine may not have.
fn tag(value: Value, most: usize, marks: &str) -> Read<String> {
    let text = text::name(value, most)?;
    if text
        .chars()
        .all(|it| it.is_ascii_alphanumeric() || marks.contains(it))
    {
        Ok(text)
    } else {
        Err(format!("must have letters, digits and `{marks}` only").into())
    }
}

/// A pattern alone, or with filters.
fn subscription(value: Value, at: &str, flaws: &mut Flaws) -> Option<Subscription> {
    if value.is_string() {
        let pattern = flaws.keep(at, pattern(value))?;
        let filters = Vec::new();
        return Some(Subscription { pattern, filters });
    }
    let mut fields = Fields::open(value, at, flaws)?;
    let pattern = fields.required("pattern", flaws, pattern);
    let filters = filter_list(&mut fields, flaws);
    fields.finish(flaws);
    pattern.map(|pattern| Subscription { pattern, filters })
}

fn pattern(value: Value) -> Read<Pattern> {
    Pattern::parse(&text::string(value)?).map_err(|it| text::topic_complaint(&it))
}

fn filter(value: Value) -> Read<Filter> {
    let filter: Filter = serde_json::from_value(value).map_err(|_| {
        "must have `field` and `min`, or `field` and `any_of`, or `near` with `lat`, `lon`, `km`"
    })?;
    match &filter {
        Filter::AtLeast { field, .. } => field_name(field)?,
        Filter::AnyOf { field, any_of } => {
            field_name(field)?;
            if !(1..=MAX_ANY_OF).contains(&any_of.len()) {
                return Err(format!("must have 1 to {MAX_ANY_OF} values in `any_of`").into());
            }
            if !any_of.iter().all(|it| it.is_string() || it.is_number()) {
                return Err("must have only texts and numbers in `any_of`".into());
            }
        }
        Filter::Near { near } => circle(*near)?,
    }
    Ok(filter)
}

fn field_name(field: &str) -> Read<()> {
    if (1..=MAX_FIELD).contains(&field.len()) {
        Ok(())
    } else {
        Err(format!("must have 1 to {MAX_FIELD} bytes in `field`").into())
    }
}

fn circle(near: Circle) -> Read<()> {
    let is_place = (-90.0..=90.0).contains(&near.lat) && (-180.0..=180.0).contains(&near.lon);
    if !is_place {
        return Err("must have `lat` within -90 to 90 and `lon` within -180 to 180".into());
    }
    if !(near.km > 0.0 && near.km <= MAX_KM) {
        return Err(format!("must have `km` above 0 and at most {MAX_KM}").into());
    }
    Ok(())
}

/// A device as the API shows it: without its token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Device)]
pub(crate) struct Shown<'a> {
    id: &'a str,
    app: &'a str,
    /// The last characters of the token.
    token_hint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    locale: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    time_zone: Option<&'a str>,
    topics: Vec<ShownSubscription<'a>>,
    /// When this token was first registered.
    registered_at: Timestamp,
    /// When the device was registered last, with whatever token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_seen: Option<Timestamp>,
    /// Only while the token is another user's: the device is sent nothing but a challenge, which is to
    /// be answered by `POST /v1/devices/{id}/confirm` until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pending_until: Option<Timestamp>,
    /// Once, to whoever registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// A device as it is exported with its token: what an import takes.
#[derive(Debug, Serialize)]
pub(crate) struct Whole<'a> {
    id: &'a str,
    app: &'a str,
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a str>,
    topics: Vec<ShownSubscription<'a>>,
}

/// A line of an export with tokens.
pub(crate) fn whole<'a>(id: &'a DeviceId, device: &'a Device) -> Whole<'a> {
    let shown = shown(id, device);
    Whole {
        id: shown.id,
        app: shown.app,
        token: device.asked_token().reveal(),
        user: shown.user,
        locale: shown.locale,
        time_zone: shown.time_zone,
        topics: shown.topics,
    }
}

/// A pattern, with its filters if it has any.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subscription)]
struct ShownSubscription<'a> {
    pattern: &'a str,
    #[serde(skip_serializing_if = "<[Filter]>::is_empty")]
    #[schema(value_type = Vec<schema::Filter>, required = false)]
    filters: &'a [Filter],
}

/// The answer to `GET` and `PUT`.
pub(crate) fn shown<'a>(id: &'a DeviceId, device: &'a Device) -> Shown<'a> {
    let topics = device
        .asked_subscriptions()
        .iter()
        .map(|it| ShownSubscription {
            pattern: it.pattern.written(),
            filters: &it.filters,
        });
    Shown {
        id: id.written(),
        app: device.app.as_str(),
        token_hint: device.asked_token().hint(),
        user: device.asked_user().map(written_text),
        locale: device.locale.as_deref(),
        time_zone: device.time_zone.as_deref(),
        topics: topics.collect(),
        registered_at: device.registered_at,
        last_seen: device.last_seen,
        pending_until: device.pending.as_ref().map(|it| it.expires_at),
        secret: None,
    }
}

impl<'a> Shown<'a> {
    /// The same with the secret that was made for it.
    pub(crate) fn with(self, secret: Option<&'a NewSecret>) -> Self {
        Self {
            secret: secret.map(NewSecret::reveal),
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
