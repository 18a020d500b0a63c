//! What the index shall be: a map of documents, and brute force over it.

use std::collections::BTreeMap;

use crate::DeviceHash;
use crate::device::holding::{self, Contender, Standing};
use crate::device::{AppName, Device, Subscription, Token};
use crate::event::Event;
use crate::index::{Dropped, Target};
use crate::plan::HashRange;
use crate::tenant::Tenant;
use crate::topic::Topic;

/// The documents, and which of them have their token, with the revision at which it came from another
/// device.
#[derive(Default)]
pub(super) struct Model {
    pub(super) documents: BTreeMap<String, (Device, u64)>,
    pub(super) owners: BTreeMap<String, Option<u64>>,
}

impl Model {
    pub(super) fn put(&mut self, id: &str, device: Device, revision: u64) {
        let before = self.documents.clone();
        self.documents.insert(id.to_owned(), (device, revision));
        self.settle(&before, revision);
    }

    pub(super) fn remove(&mut self, id: &str, revision: u64) {
        let before = self.documents.clone();
        self.documents.remove(id);
        self.settle(&before, revision);
    }

    fn with_token(&self, token: &Token) -> Vec<(&String, &(Device, u64))> {
        let documents = self.documents.iter();
        documents
            .filter(|(_, (it, _))| it.token == *token)
            .collect()
    }

    fn owns(&self, id: &str) -> bool {
        let group = self.with_token(&self.documents[id].0.token);
        let tenants: Vec<Tenant> = group.iter().map(|(it, _)| super::id(it).tenant()).collect();
        let contenders = group
            .iter()
            .zip(&tenants)
            .map(|((_, (it, revision)), tenant)| Contender {
                tenant: (!tenant.is_main()).then_some(tenant.as_str()),
                user: it.user.as_deref().map_or(0, crate::topic::user_hash),
                since: it.holding.since.unwrap_or(*revision).min(*revision),
                revision: *revision,
                is_proven: it.holding.is_proven,
            });
        let standings = holding::judge(&contenders.collect::<Vec<_>>());
        let place = group.iter().position(|(it, _)| *it == id).unwrap();
        standings[place] == Standing::Owned
    }

    fn settle(&mut self, before: &BTreeMap<String, (Device, u64)>, revision: u64) {
        let former = std::mem::take(&mut self.owners);
        let mut owners = BTreeMap::new();
        for (id, (device, _)) in &self.documents {
            if !self.owns(id) {
                continue;
            }
            let had_it = before
                .get(id)
                .is_some_and(|(it, _)| it.token == device.token);
            let tenant = super::id(id).tenant();
            let mut others = self.with_token(&device.token).into_iter();
            let has_rivals = others.any(|(it, _)| it != id && super::id(it).tenant() == tenant);
            let moved = match former.get(id) {
                Some(moved) if had_it => *moved,
                Some(_) | None => (had_it || has_rivals).then_some(revision),
            };
            owners.insert(id.clone(), moved);
        }
        self.owners = owners;
    }

    fn concerns(&self, id: &str, event: &Event) -> bool {
        let Some((device, _)) = self.documents.get(id) else {
            return false;
        };
        let follows = |it: &Subscription| it.matches(&event.topics, &event.content.data);
        let user = device.user.as_deref().map(Topic::of_user);
        let device_topic = Topic::of_device(&super::id(id));
        device.subscriptions.iter().any(follows)
            || event.topics.contains(&device_topic)
            || user.is_some_and(|it| event.topics.contains(&it))
    }

    pub(super) fn count(&self, event: &Event) -> BTreeMap<AppName, u64> {
        let mut counts = BTreeMap::new();
        for (id, (device, _)) in &self.documents {
            if self.concerns(id, event) && self.owners.contains_key(id) {
                *counts.entry(device.app.clone()).or_insert(0) += 1;
            }
        }
        counts
    }

    pub(super) fn walk(&self, event: &Event, app: &AppName, range: HashRange) -> Vec<DeviceHash> {
        let mut hashes: Vec<DeviceHash> = self
            .documents
            .iter()
            .filter(|(id, (device, _))| device.app == *app && self.concerns(id, event))
            .map(|(id, _)| DeviceHash::of(id))
            .filter(|it| range.contains(*it))
            .collect();
        hashes.sort();
        hashes
    }

    pub(super) fn target(
        &self,
        event: &Event,
        app: &AppName,
        id: &str,
        plan_revision: u64,
    ) -> Result<Target, Dropped> {
        let (device, revision) = self.documents.get(id).ok_or(Dropped::Gone)?;
        let owner = self.owners.get(id);
        if device.app != *app {
            Err(Dropped::OtherApp)
        } else if !self.concerns(id, event) {
            Err(Dropped::Unsubscribed)
        } else if owner.is_none() {
            Err(Dropped::TokenLost)
        } else if owner
            .copied()
            .flatten()
            .is_some_and(|it| it > plan_revision)
        {
            Err(Dropped::TokenMoved)
        } else {
            let token = device.token.reveal().to_owned();
            Ok(Target {
                id: id.to_owned(),
                token,
                revision: *revision,
            })
        }
    }
}
