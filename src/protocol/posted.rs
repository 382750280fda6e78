//! What one body holds: a message, or a batch of them (MCP 2025-03-26, base protocol).

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::message::{Message, MessageError, RequestId, readable_id};

/// Messages in one batch. Each is a request of its own, and they are worked on at once.
pub const MAX_BATCH: usize = 20;

/// What one body holds.
#[derive(Debug)]
pub enum Posted {
    /// One message.
    One(Message),
    /// A batch; not empty, and no larger than [`MAX_BATCH`].
    Batch(Vec<Element>),
}

/// One element of a batch.
#[derive(Debug)]
pub struct Element {
    /// Its size, in bytes.
    pub bytes: usize,
    /// The message, or why it is none.
    pub message: Result<Message, MessageError>,
    /// The id of a request that is no message, as far as it can be made out.
    pub id: Option<RequestId>,
}

impl Posted {
    /// Reads a body.
    ///
    /// # Errors
    /// When the bytes are neither a message nor a batch. What is wrong with one element is no fault of the others.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if first != Some(&b'[') {
            return Message::parse(body).map(Self::One);
        }
        let Array(elements) = serde_json::from_slice(body)
            .map_err(|error| MessageError::NotJson(error.to_string()))?;
        match elements.len() {
            0 => Err(MessageError::NotAMessage("the batch is empty".into())),
            1..=MAX_BATCH => Ok(Self::Batch(
                elements.into_iter().map(Element::read).collect(),
            )),
            _ => Err(MessageError::NotAMessage(format!(
                "a batch holds at most {MAX_BATCH} messages"
            ))),
        }
    }
}

impl Element {
    fn read(raw: &RawValue) -> Self {
        let bytes = raw.get().as_bytes();
        let message = Message::parse(bytes);
        let id = if message.is_err() {
            readable_id(bytes)
        } else {
            None
        };
        Self {
            bytes: bytes.len(),
            message,
            id,
        }
    }
}

/// The elements of an array; of one that is too long, one more than may be.
struct Array<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Array<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Elements).map(Array)
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() <= MAX_BATCH {
            match array.next_element()? {
                Some(element) => elements.push(element),
                None => return Ok(elements),
            }
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> String {
        match Posted::parse(body.as_bytes()) {
            Ok(Posted::One(_)) => "one".into(),
            Ok(Posted::Batch(elements)) => {
                let good = elements.iter().filter(|element| element.message.is_ok());
                format!("{} of {}", good.count(), elements.len())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_batch_is_told_from_a_message_and_is_neither_empty_nor_large() {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let many = |number| format!(" [{}]", vec![ping; number].join(","));
        assert_eq!(read(ping), "one");
        assert_eq!(read(&many(1)), "1 of 1");
        assert_eq!(read(&many(MAX_BATCH)), "20 of 20");
        assert_eq!(
            read(&many(MAX_BATCH + 1)),
            "a batch holds at most 20 messages"
        );
        assert_eq!(read(&many(5_000)), "a batch holds at most 20 messages");
        assert_eq!(read("[]"), "the batch is empty");
        assert!(read(&format!("[{ping}")).starts_with("the body is not JSON"));
        assert!(read(&format!("[{ping}] x")).starts_with("the body is not JSON"));
    }

    #[test]
    fn what_is_wrong_with_one_element_is_its_own_fault() {
        let body = r#"[{"jsonrpc":"2.0","method":"x"},7,[],{"id":"a","method":"x"}]"#;
        assert_eq!(read(body), "1 of 4");
        let Ok(Posted::Batch(elements)) = Posted::parse(body.as_bytes()) else {
            panic!("a batch");
        };
        let ids: Vec<_> = elements
            .iter()
            .map(|element| element.id.as_ref().map(RequestId::as_json))
            .collect();
        assert_eq!(ids, [None, None, None, Some("\"a\"")]);
    }
}
