//! `GET /v1/apps`: for what devices can be registered.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;

use crate::config::App;
use crate::page::{Listed, Page, Params};
use crate::problem::{Kind, Problem};
use crate::router::{APPS, Api};

/// The apps that devices may name.
#[utoipa::path(
    get,
    path = "/v1/apps",
    operation_id = "listApps",
    description = "The apps of the configuration, which all tenants share. Where this process was told of none the list is empty, and a device may name any. Credentials are not told, nor where they are.",
    tag = "apps",
    params(Params),
    responses((
        status = 200,
        description = "By name",
        body = Listed<App>,
        headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page")),
    )),
)]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Response {
    page.of(APPS, api.shown_apps.clone(), |it| it.name.clone())
}

/// One of them.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}",
    operation_id = "showApp",
    description = "As in the list.",
    tag = "apps",
    params(("app" = String, Path, pattern = "^[a-z0-9_-]{1,24}$", description = "Its name")),
    responses((status = 200, description = "The app", body = App)),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let app = api.shown_apps.iter().find(|it| it.name == name);
    let app =
        app.ok_or_else(|| Problem::new(Kind::NoSuchApp, "no app is configured by this name"))?;
    let private = [(CACHE_CONTROL, "private, no-cache")];
    Ok((private, axum::Json(app)).into_response())
}
