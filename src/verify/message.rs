//! One message: whether its key and body are sound, and what it adds to its stream and increment.
//! Judges nothing that needs other messages.

use super::increment::Writer;
use super::numbers::Turn;
use super::stream::Met;
use super::sums::Chunk;
use super::{Kind, Place, Verifier};
use crate::catalog::Seen;
use crate::format::changelog::CHANGELOG_SCHEMA;
use crate::format::{
    Audit, FormatError, Manifest, decode_changelog, decode_key, encode_key, has_own_schema,
};
use crate::model::{ChunkNumber, MessageKey};

/// How the schema of every data body begins and ends.
const ROW: (&str, &str) = (
    r#"{"type":"record","name":"row","fields":["#,
    r#"{"name":"sys_op","type":["null","int"],"doc":""}]}"#,
);

/// Why a key is not taken.
pub(super) enum BadKey {
    /// It is none of a backup.
    Foreign(FormatError),
    /// It begins as ours and goes on otherwise: what it says is not to be trusted.
    Changed(MessageKey),
}

/// Reads a key, and whether it has our bytes.
pub(super) fn key(seen: &Seen<'_>) -> Result<(MessageKey, bool), BadKey> {
    let key = decode_key(seen.key).map_err(BadKey::Foreign)?;
    if !has_own_schema(seen.key) {
        return Ok((key, false));
    }
    if encode_key(&key) == seen.key { Ok((key, true)) } else { Err(BadKey::Changed(key)) }
}

impl Verifier {
    pub(super) fn read_key(&mut self, seen: &Seen<'_>) -> Option<(MessageKey, bool)> {
        let place = Place::of(seen);
        match key(seen) {
            Ok(read) => return Some(read),
            Err(BadKey::Foreign(_)) if seen.key.is_empty() => {
                self.findings.add(Kind::Foreign, place, "a message without a key");
            }
            Err(BadKey::Foreign(error)) => {
                let text = format!("a message that is none of a backup: its key: {error}");
                self.findings.add(Kind::Foreign, place, text);
            }
            Err(BadKey::Changed(key)) => {
                let text = "the key was changed: its bytes are not those that what it says makes";
                self.findings.add(Kind::Key, place.with(&key), text);
            }
        }
        None
    }

    pub(super) fn read_message(&mut self, seen: &Seen<'_>, key: &MessageKey, is_own: bool) {
        // The auditor is taken out because what it returns lives as long as the message only.
        let mut auditor = std::mem::take(&mut self.auditor);
        let audit = auditor.audit(seen.key, seen.body);
        self.auditor = auditor;
        let labelled = audit.as_ref().is_ok_and(|audit| audit.crc.is_some());
        let writer = if is_own || labelled { Writer::Own } else { Writer::Other };
        let stream = self.stream_of(key, writer, seen);
        let increment = self.streams[stream].increment;
        self.increments[increment].count(seen, writer);
        let met = self.streams[stream].meet(key, (seen.partition, seen.offset));
        let is_sound = self.is_sound(seen, key, (is_own, writer), &audit);
        if met.turn == Turn::Again && key.chunk != ChunkNumber(0) {
            self.copies.add((stream, key.chunk));
        }
        let in_order = self.check_met(seen, key, writer, &met);
        let same_date = self.check_date(seen, key, increment);
        if !(is_sound && in_order && same_date) {
            self.increments[increment].is_damaged = true;
        }
        if let Ok(audit) = audit.as_ref()
            && met.turn != Turn::Again
        {
            self.take_content(seen, key, stream, audit, is_sound);
        }
        if key.table.is_none() && key.is_last {
            self.increments[increment].ended_at = Some((seen.partition, seen.offset));
        }
    }

    /// Whether the body is one of the tool that wrote it, for a key like this.
    fn is_sound(
        &mut self,
        seen: &Seen<'_>,
        key: &MessageKey,
        (is_own, writer): (bool, Writer),
        audit: &Result<Audit<'_>, FormatError>,
    ) -> bool {
        let found = match audit {
            Err(_) if seen.body.is_empty() => Some((Kind::Body, "the body is gone".to_owned())),
            Err(error) => Some((Kind::Body, format!("the body cannot be read: {error}"))),
            Ok(_) if writer == Writer::Other => None,
            Ok(audit) => match audit.crc {
                Some(false) => Some((
                    Kind::CheckSum,
                    "the check sum is not that of key and body: bytes were changed".to_owned(),
                )),
                None => Some((Kind::Body, "the body lost its check sum".to_owned())),
                Some(true) if !is_own => {
                    Some((Kind::Key, "the key was written anew by another tool".to_owned()))
                }
                Some(true) => wrong_label(key, audit).map(|text| (Kind::Body, text.to_owned())),
            },
        };
        let Some((kind, text)) = found else { return true };
        self.findings.add(kind, Place::of(seen).with(key), text);
        false
    }

    /// Whether the message came when and where its stream goes on. Messages of another tool may
    /// lie in any partition and order.
    fn check_met(&mut self, seen: &Seen<'_>, key: &MessageKey, writer: Writer, met: &Met) -> bool {
        let mut found = Vec::new();
        if key.chunk == ChunkNumber(0) {
            found.push((Kind::Extra, "chunks count from 1".to_owned()));
        }
        if met.elsewhere && writer == Writer::Own {
            found.push((Kind::Order, "the stream lies in another partition".to_owned()));
        }
        if met.turn == Turn::Late && writer == Writer::Own {
            found.push((Kind::Order, "the chunk lies behind a later one".to_owned()));
        }
        if let Some(total) = met.other_total {
            let text = format!("of {} streams, but of {total} before", key.stream_total);
            found.push((Kind::Differs, text));
        }
        if let Some(chunk) = met.other_end {
            found.push((Kind::Extra, format!("a second last chunk; the first was {chunk}")));
        }
        let in_order = found.is_empty();
        for (kind, text) in found {
            self.findings.add(kind, Place::of(seen).with(key), text);
        }
        in_order
    }

    fn check_date(&mut self, seen: &Seen<'_>, key: &MessageKey, increment: usize) -> bool {
        let known = self.increments[increment].date;
        if known != key.date {
            let text = format!("the delta is of {}, but of {known} before", key.date);
            self.findings.add(Kind::Differs, Place::of(seen).with(key), text);
        }
        known == key.date
    }

    /// Takes in what a sound body holds; of one that is not, only how many records.
    fn take_content(
        &mut self,
        seen: &Seen<'_>,
        key: &MessageKey,
        stream: usize,
        audit: &Audit<'_>,
        is_sound: bool,
    ) {
        let of = &self.streams[stream];
        let other_schema = of.schema.as_deref().filter(|known| *known != audit.schema).is_some();
        if of.schema.is_none() {
            let schema = self.schema(audit.schema);
            self.streams[stream].schema = Some(schema);
        }
        let records = &mut self.streams[stream].records;
        *records = records.saturating_add(audit.records);
        if !is_sound {
            return;
        }
        if other_schema {
            self.damaged(seen, key, stream, Kind::Differs, "rows of another schema than before");
        }
        if key.table.is_none() {
            self.take_changelog(seen, key, stream, audit);
        } else {
            self.take_part(seen, key, stream, audit.label.part);
            if self.asked.sums && !other_schema {
                self.take_rows(seen, key, stream, audit);
            }
        }
    }

    /// Rows of a body that is sound; in one of another tool they can still be cut or none at all.
    fn take_rows(&mut self, seen: &Seen<'_>, key: &MessageKey, stream: usize, audit: &Audit<'_>) {
        let Some(table) = &key.table else { return };
        let tallies = &mut self.increments[self.streams[stream].increment].tallies;
        let chunk = Chunk {
            part: audit.label.part,
            stream: key.stream,
            stream_total: key.stream_total,
            is_last: key.is_last,
        };
        let reader = self.readers.of(audit.schema);
        let taken = reader.and_then(|reader| match tallies.get_mut(table) {
            Some(tally) => tally.take(reader, seen.body, chunk),
            None => tallies.entry(table.clone()).or_default().take(reader, seen.body, chunk),
        });
        if let Err(error) = taken {
            let text = format!("its rows cannot be read: {error}");
            self.damaged(seen, key, stream, Kind::Body, &text);
        }
    }

    fn take_part(&mut self, seen: &Seen<'_>, key: &MessageKey, stream: usize, part: Option<u8>) {
        let parts = &mut self.streams[stream].parts;
        let part = usize::from(part.unwrap_or_default());
        let newest = parts.iter().rposition(|chunks| *chunks > 0).unwrap_or_default();
        let had_none = parts[0] > 0;
        parts[part] += 1;
        if part < newest {
            let text = "a part of the table lies behind a later one";
            self.damaged(seen, key, stream, Kind::Order, text);
        } else if part > 0 && had_none {
            let text = "the chunk names a part, and one before names none";
            self.damaged(seen, key, stream, Kind::Differs, text);
        }
    }

    fn take_changelog(
        &mut self,
        seen: &Seen<'_>,
        key: &MessageKey,
        stream: usize,
        audit: &Audit<'_>,
    ) {
        let increment = self.streams[stream].increment;
        let records = match decode_changelog(seen.body) {
            Ok(records) => records,
            Err(error) => {
                let text = format!("the changelog cannot be read: {error}");
                return self.damaged(seen, key, stream, Kind::Body, &text);
            }
        };
        let is_own = self.increments[increment].writer == Writer::Own;
        let known = self.records.entry(key.datamart.clone()).or_default();
        let of = &mut self.increments[increment];
        let mut gap = None;
        for record in records {
            if record.num != of.log.len() as u64 {
                gap = gap.or(Some((record.num, of.log.len())));
            }
            of.log.push(known.intern(record));
        }
        let before = of.replay_before.replace(audit.label.replay_before.unwrap_or_default());
        let other = before.is_some() && before != of.replay_before;
        // Chunks of another tool may have been read in another order.
        if let Some((found, wanted)) = gap.filter(|_| is_own) {
            let text = format!("record {found} of the changelog stands where {wanted} belongs");
            self.damaged(seen, key, stream, Kind::Differs, &text);
        }
        if other {
            let text = "deltakeep.replayBefore is another one than before";
            self.damaged(seen, key, stream, Kind::Differs, text);
        }
        if let Some(manifest) = audit.label.manifest {
            match Manifest::parse(manifest) {
                Ok(manifest) => self.increments[increment].manifest = Some(manifest),
                Err(error) => self.damaged(seen, key, stream, Kind::Body, &error.to_string()),
            }
        }
    }

    fn damaged(
        &mut self,
        seen: &Seen<'_>,
        key: &MessageKey,
        stream: usize,
        kind: Kind,
        text: &str,
    ) {
        let increment = self.streams[stream].increment;
        self.increments[increment].is_damaged = true;
        self.findings.add(kind, Place::of(seen).with(key), text);
    }
}

/// What a body of ours has and must not have, or the other way round.
fn wrong_label(key: &MessageKey, audit: &Audit<'_>) -> Option<&'static str> {
    let label = &audit.label;
    let is_data = key.table.is_some();
    if !audit.is_rendered {
        return Some("the header is not as deltakeep writes it");
    }
    if is_data != label.src.is_some() || is_data == label.replay_before.is_some() {
        return Some("the body is not of the kind that the key says");
    }
    if label.part.is_some() && !is_data {
        return Some("a changelog has no parts");
    }
    if label.manifest.is_some() != (!is_data && key.is_last) {
        return Some("the manifest stands in the last changelog message, and nowhere else");
    }
    let is_expected = match is_data {
        true => audit.schema.starts_with(ROW.0) && audit.schema.ends_with(ROW.1),
        false => audit.schema == CHANGELOG_SCHEMA,
    };
    (!is_expected).then_some("the schema is not the one of such bodies")
}
