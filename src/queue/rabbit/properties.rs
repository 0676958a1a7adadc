//! Messages as AMQP has them, and as tasks have them. Pure.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::queue::{Message, Outgoing};

/// Kept on disk by the broker.
const PERSISTENT: u8 = 2;

/// A text that AMQP has room for: 255 bytes.
pub(super) fn short(text: &str) -> Option<ShortString> {
    ShortString::try_new(text).ok()
}

/// What a delivery says.
pub(super) fn message(delivery: &mut Delivery) -> Message {
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
    let properties = &delivery.properties;
    let headers = properties.headers().as_ref().map(headers).unwrap_or_default();
    Message {
        content_type: text(properties.content_type()),
        message_id: text(properties.message_id()),
        correlation_id: text(properties.correlation_id()),
        reply_to: text(properties.reply_to()).filter(|queue| !queue.is_empty()),
        kind: text(properties.kind()),
        headers,
        redelivered: delivery.redelivered,
        body: std::mem::take(&mut delivery.data),
    }
}

fn headers(table: &FieldTable) -> BTreeMap<String, String> {
    let header = |(name, value): (&ShortString, &AMQPValue)| {
        Some((name.as_str().to_owned(), as_text(value)?))
    };
    table.inner().iter().filter_map(header).collect()
}

fn as_text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::ShortString(value) => value.as_str().to_owned(),
        AMQPValue::LongString(value) => String::from_utf8(value.as_bytes().to_vec()).ok()?,
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => return None,
    })
}

/// Properties of a message to be sent. What is too long for AMQP is left out: it came from nobody
/// who could have sent it by AMQP.
pub(super) fn properties(message: &Outgoing) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_content_type(ShortString::from("application/json"))
        .with_delivery_mode(PERSISTENT);
    let of = |text: &Option<String>| text.as_deref().and_then(short);
    if let Some(id) = of(&message.message_id) {
        properties = properties.with_message_id(id);
    }
    if let Some(id) = of(&message.correlation_id) {
        properties = properties.with_correlation_id(id);
    }
    if let Some(queue) = of(&message.reply_to) {
        properties = properties.with_reply_to(queue);
    }
    if let Some(kind) = of(&message.kind) {
        properties = properties.with_type(kind);
    }
    if !message.headers.is_empty() {
        let mut table = FieldTable::default();
        for (name, value) in &message.headers {
            if let Some(name) = short(name) {
                table.insert(name, AMQPValue::LongString(LongString::from(value.as_str())));
            }
        }
        properties = properties.with_headers(table);
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Address;

    #[test]
    fn what_is_sent_is_what_comes() {
        let sent = Outgoing {
            to: Address::Later,
            body: b"{}".to_vec(),
            message_id: Some("m".into()),
            correlation_id: Some("c".into()),
            reply_to: Some("r".into()),
            kind: Some("create_backup".into()),
            headers: [("progress".to_owned(), "true".to_owned())].into(),
        };
        let mut delivery = Delivery::mock(1, "".into(), "q".into(), true, sent.body.clone());
        delivery.properties = properties(&sent);
        let came = message(&mut delivery);
        assert_eq!(
            (came.body, came.message_id, came.correlation_id, came.reply_to, came.kind),
            (sent.body, sent.message_id, sent.correlation_id, sent.reply_to, sent.kind)
        );
        assert_eq!((came.headers, came.redelivered), (sent.headers, true));
        assert_eq!(came.content_type.as_deref(), Some("application/json"));
        assert_eq!(*delivery.properties.delivery_mode(), Some(PERSISTENT));
    }

    #[test]
    fn headers_of_all_kinds_are_texts_and_lists_are_left_out() {
        let mut table = FieldTable::default();
        table.insert("flag".into(), AMQPValue::Boolean(true));
        table.insert("count".into(), AMQPValue::LongLongInt(-3));
        table.insert("text".into(), AMQPValue::LongString("a".into()));
        table.insert("broken".into(), AMQPValue::LongString(vec![0xff].into()));
        table.insert("x-death".into(), AMQPValue::FieldArray(Default::default()));
        let found = headers(&table);
        let expected = [("count", "-3"), ("flag", "true"), ("text", "a")];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
    }

    #[test]
    fn what_is_too_long_for_amqp_ends_nothing() {
        let text = "x".repeat(256);
        let long = Some(text.clone());
        let sent = Outgoing {
            to: Address::Dead,
            body: Vec::new(),
            message_id: long.clone(),
            correlation_id: long.clone(),
            reply_to: long.clone(),
            kind: long.clone(),
            headers: [(text, String::new())].into(),
        };
        assert_eq!(*properties(&sent).message_id(), None);
        assert_eq!(short(&"x".repeat(255)).map(|text| text.as_str().len()), Some(255));
    }
}
