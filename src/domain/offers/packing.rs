//! Chooses what a product offers and writes it as one block; the layout is in the parent module's head.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    CHANNELS_AT, DELIVERY_AT, IMAGES_AT, NAME_AT, ProductOffers, REPLACEMENTS_AT, SECRETS_AT, SHORT, UNSET,
    delivery,
};
use crate::domain::{
    ChannelName, FileName, Hardware, Image, LinkKind, ProductState, Release, Rhythm, Version, credential,
    key_of,
    ladder::{Candidate, ladder, replacement, steps_that_count},
};

pub(super) const IS_FLOOR: u8 = 1;
pub(super) const HAS_UPGRADE_FROM: u8 = 2;

/// The members of an answer that do not change with time or caller.
#[derive(Serialize)]
struct Members<'a> {
    version: &'a Version,
    size: u64,
    sha256: String,
    sha1: String,
    md5: String,
    filename: &'a FileName,
    hardware: &'a BTreeSet<Hardware>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    created_at: DateTime<Utc>,
}

/// The steps for hardware that no image names, and for each that one does.
struct ByHardware<'a> {
    any: Vec<Candidate<'a>>,
    named: BTreeMap<&'a str, Vec<Candidate<'a>>>,
}

impl ProductOffers {
    /// Chooses and packs the offers of every channel of a product.
    pub fn of(state: &ProductState) -> Self {
        let channels: BTreeMap<_, _> = state
            .channels()
            .into_iter()
            .map(|channel| {
                let rhythm = state.product.settings.rhythm_of(&channel);
                (channel.to_string(), (Some(rhythm), of_channel(state, &channel)))
            })
            .collect();
        let replacements: BTreeMap<_, _> = state
            .releases
            .iter()
            .filter_map(|release| {
                let offers = by_hardware(&[replacement(state, release)?]);
                Some((release.version.to_string(), (None, offers)))
            })
            .collect();
        let name = state.product.name.as_str();
        let mut packing = Packing {
            product: name,
            bytes: vec![0; NAME_AT],
            offers: Vec::new(),
            ids: short_ids(state),
            links_are_short: state.product.settings.delivery.link == LinkKind::Short,
        };
        packing.text(name);
        packing.table_of_offers(CHANNELS_AT, &channels);
        packing.table_of_offers(REPLACEMENTS_AT, &replacements);
        packing.all_offers();
        packing.delivery(state);
        Self(packing.bytes.into())
    }
}

fn of_channel<'a>(state: &'a ProductState, channel: &ChannelName) -> ByHardware<'a> {
    let promoted = state.promotions.iter().filter(|promotion| promotion.channel == *channel);
    let named: BTreeSet<&str> = promoted
        .filter_map(|promotion| state.image(promotion.image))
        .filter(|(release, image)| release.recall.is_none() && image.removed_at.is_none())
        .flat_map(|(_, image)| image.hardware.iter().map(Hardware::as_str))
        .collect();
    let steps = |hardware| steps_that_count(&ladder(state, channel, hardware));
    ByHardware {
        any: steps(None),
        named: named.into_iter().map(|hardware| (hardware, steps(Some(hardware)))).collect(),
    }
}

fn by_hardware<'a>(releases: &[&'a Release]) -> ByHardware<'a> {
    let images =
        || releases.iter().flat_map(|&release| release.kept().map(move |image| Candidate { release, image }));
    let any: Vec<_> = images().filter(|candidate| candidate.image.hardware.is_empty()).take(1).collect();
    let named = images().flat_map(|candidate| {
        candidate.image.hardware.iter().map(move |hardware| (hardware.as_str(), vec![candidate]))
    });
    ByHardware { any, named: named.collect() }
}

struct Packing<'a> {
    product: &'a str,
    bytes: Vec<u8>,
    /// The images that steps refer to, each with the places that hold its offset.
    offers: Vec<(Candidate<'a>, Vec<usize>)>,
    /// The letters of each image in short links.
    ids: HashMap<Uuid, String>,
    /// Whether offers carry them.
    links_are_short: bool,
}

impl<'a> Packing<'a> {
    fn short(&mut self, value: usize) {
        let value = u32::try_from(value).expect("a product's offers are far below 4 GiB");
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Writes the current end at a place that was left for it.
    fn here(&mut self, place: usize) {
        let here = u32::try_from(self.bytes.len()).expect("a product's offers are far below 4 GiB");
        self.bytes[place..place + 4].copy_from_slice(&here.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.short(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn version(&mut self, version: &Version) {
        let (major, minor, patch, pre) = version.parts();
        for number in [major, minor, patch] {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.text(pre);
    }

    /// A table with its names; returns where the offset of each value belongs, in order.
    fn table<'n>(&mut self, names: impl ExactSizeIterator<Item = &'n str> + Clone) -> Vec<usize> {
        self.short(names.len());
        let entries = self.bytes.len();
        self.bytes.resize(entries + names.len() * 8, 0);
        let mut places = Vec::with_capacity(names.len());
        for (index, name) in names.enumerate() {
            let entry = entries + index * 8;
            self.here(entry);
            self.text(name);
            places.push(entry + 4);
        }
        places
    }

    fn rhythm(&mut self, rhythm: Rhythm) {
        let interval = rhythm.poll_interval.map_or(UNSET, super::PollInterval::get);
        let lifetime = rhythm.cache_lifetime.map_or(UNSET, super::CacheLifetime::get);
        for seconds in [interval, lifetime] {
            self.bytes.extend_from_slice(&seconds.to_le_bytes());
        }
    }

    fn table_of_offers(&mut self, place: usize, table: &BTreeMap<String, (Option<Rhythm>, ByHardware<'a>)>) {
        self.here(place);
        let places = self.table(table.keys().map(String::as_str));
        for (place, (rhythm, offers)) in places.into_iter().zip(table.values()) {
            self.here(place);
            if let Some(rhythm) = rhythm {
                self.rhythm(*rhythm);
            }
            let any = self.bytes.len();
            self.short(0);
            let named = self.table(offers.named.keys().copied());
            for (place, steps) in named.into_iter().zip(offers.named.values()) {
                self.here(place);
                self.steps(steps);
            }
            if !offers.any.is_empty() {
                self.here(any);
                self.steps(&offers.any);
            }
        }
    }

    fn steps(&mut self, steps: &[Candidate<'a>]) {
        self.short(steps.len());
        for step in steps {
            let upgrade_from = step.release.upgrade_from.as_ref();
            let floor = if step.release.floor { IS_FLOOR } else { 0 };
            self.bytes.push(floor | if upgrade_from.is_some() { HAS_UPGRADE_FROM } else { 0 });
            self.version(&step.release.version);
            if let Some(lowest) = upgrade_from {
                self.version(lowest);
            }
            let place = self.bytes.len();
            self.short(0);
            match self.offers.iter_mut().find(|(candidate, _)| candidate.image.id == step.image.id) {
                Some((_, places)) => places.push(place),
                None => self.offers.push((*step, vec![place])),
            }
        }
    }

    fn all_offers(&mut self) {
        for (Candidate { release, image }, places) in std::mem::take(&mut self.offers) {
            for place in places {
                self.here(place);
            }
            self.offer(release, image);
        }
    }

    fn offer(&mut self, release: &Release, image: &Image) {
        self.bytes.extend_from_slice(&image.size.to_le_bytes());
        self.bytes.extend_from_slice(&image.created_at.timestamp_micros().to_le_bytes());
        self.bytes.extend_from_slice(&image.digests.sha256);
        self.bytes.extend_from_slice(&image.digests.sha1);
        self.bytes.extend_from_slice(&image.digests.md5);
        let members = members(release, image);
        self.text(&hex::encode(&Sha256::digest(&members)[..8]));
        self.text(&key_of(self.product, &release.version, &image.filename));
        self.text(&members);
        self.text(&release.version.to_string());
        self.text(image.filename.as_str());
        let hardware: String = image.hardware.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
        self.text(&hardware);
        self.text(release.notes.as_deref().unwrap_or_default());
        let id = self.ids.get(&image.id).filter(|_| self.links_are_short);
        let id = id.map_or_else(String::new, |id| credential::product_tag(self.product) + id);
        self.text(&id);
    }

    fn delivery(&mut self, state: &ProductState) {
        let bits = delivery::bits(&state.product.settings.delivery);
        self.bytes[DELIVERY_AT..DELIVERY_AT + SHORT].copy_from_slice(&bits.to_le_bytes());
        self.here(SECRETS_AT);
        let private = state.product.settings.delivery.is_private();
        let secrets = if private { state.product.device_secrets.to_bytes() } else { Vec::new() };
        self.short(secrets.len());
        self.bytes.extend_from_slice(&secrets);
        let mut images: Vec<_> = state
            .releases
            .iter()
            .flat_map(|release| release.images.iter().map(move |image| (release, image)))
            .filter_map(|(release, image)| Some((self.ids.get(&image.id)?.clone(), release, image)))
            .collect();
        images.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        self.here(IMAGES_AT);
        self.short(images.len());
        let mut places = Vec::with_capacity(images.len());
        for (id, release, image) in &images {
            self.bytes.extend_from_slice(id.as_bytes());
            places.push(self.bytes.len());
            self.short(0);
            let gone = release.recall.is_some() || image.removed_at.is_some();
            self.short(if gone { delivery::GONE as usize } else { 0 });
        }
        for ((_, release, image), place) in images.into_iter().zip(places) {
            self.here(place);
            self.text(&key_of(self.product, &release.version, &image.filename));
        }
    }
}

/// The letters of the images that short links may name: those that a device was or can be told of. None, if the product's
/// offers carry no short links, and never did. Two images of the same letters, one in a million millions of pairs, have no short link.
fn short_ids(state: &ProductState) -> HashMap<Uuid, String> {
    if !state.product.settings.delivery.follows_short_links() {
        return HashMap::new();
    }
    let product = state.product.name.as_str();
    let mut ids = HashMap::new();
    let mut owners: HashMap<String, usize> = HashMap::new();
    let told: BTreeSet<Uuid> =
        state.promotions.iter().chain(&state.withdrawn).map(|promotion| promotion.image).collect();
    let replacing: BTreeSet<Uuid> =
        state.releases.iter().filter_map(|recalled| Some(replacement(state, recalled)?.id)).collect();
    for release in &state.releases {
        let replaces = replacing.contains(&release.id);
        for image in release.images.iter().filter(|image| replaces || told.contains(&image.id)) {
            let id = credential::short_id(product, &key_of(product, &release.version, &image.filename));
            let id = id[credential::TAG_LENGTH..].to_owned();
            *owners.entry(id.clone()).or_default() += 1;
            ids.insert(image.id, id);
        }
    }
    ids.retain(|_, id| owners.get(id) == Some(&1));
    ids
}

fn members(release: &Release, image: &Image) -> String {
    let members = Members {
        version: &release.version,
        size: image.size,
        sha256: hex::encode(image.digests.sha256),
        sha1: hex::encode(image.digests.sha1),
        md5: hex::encode(image.digests.md5),
        filename: &image.filename,
        hardware: &image.hardware,
        notes: release.notes.as_deref(),
        signature: image.signature.as_deref(),
        created_at: image.created_at,
    };
    let object = serde_json::to_string(&members).expect("plain data without maps");
    object[1..object.len() - 1].to_owned()
}
