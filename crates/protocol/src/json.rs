//! Bounded JSON: size and depth are checked before anything is built, and `null` means absent.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 32;

/// Why a document was turned away.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Longer than the limit.
    #[error("{found} bytes, at most {limit} are read")]
    TooLong {
        /// Bytes given.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Not JSON, or not of the expected shape; the text says where.
    #[error("{0}")]
    Shape(#[from] serde_json::Error),
}

/// Reads a `T` from at most `limit` bytes of JSON.
///
/// # Errors
/// [`JsonError`]: too long, too deep, or not a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, JsonError> {
    check(bytes, limit)?;
    Ok(serde_json::from_slice(bytes)?)
}

/// The bounds of [`decode`] alone.
///
/// # Errors
/// [`JsonError::TooLong`] or [`JsonError::TooDeep`].
pub fn check(bytes: &[u8], limit: usize) -> Result<(), JsonError> {
    if bytes.len() > limit {
        return Err(JsonError::TooLong { found: bytes.len(), limit });
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth = depth.saturating_add(1);
                if depth > MAX_DEPTH {
                    return Err(JsonError::TooDeep);
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// A JSON object whose `null` members are dropped when read, at every level: peers in other
/// languages write absent fields as `null`, and none may be emitted.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Object(pub Map<String, Value>);

impl Object {
    /// An empty object.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A member.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// A member that is a string.
    #[must_use]
    pub fn str(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }

    /// Sets a member and returns the object; `null` removes it.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        match value.into() {
            Value::Null => drop(self.0.remove(key)),
            value => drop(self.0.insert(key.to_owned(), value)),
        }
        self
    }

    /// Reads the object as a `T`, which may borrow its texts.
    ///
    /// # Errors
    /// What serde says of the shape.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.0)
    }

    /// Writes a `T` that is an object in JSON.
    ///
    /// # Errors
    /// When it is something else.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(value)?)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut map = Map::deserialize(d)?;
        drop_nulls(&mut map);
        Ok(Self(map))
    }
}

impl From<Map<String, Value>> for Object {
    fn from(mut map: Map<String, Value>) -> Self {
        drop_nulls(&mut map);
        Self(map)
    }
}

fn drop_nulls(map: &mut Map<String, Value>) {
    map.retain(|_, v| !v.is_null());
    map.values_mut().for_each(drop_nulls_in);
}

fn drop_nulls_in(value: &mut Value) {
    match value {
        Value::Object(map) => drop_nulls(map),
        Value::Array(items) => items.iter_mut().for_each(drop_nulls_in),
        _ => {}
    }
}

/// For `#[serde(deserialize_with)]`: `null` reads as the default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    d: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(d).map(Option::unwrap_or_default)
}

/// Whether every member of `part` is in `whole`, objects compared recursively in the same way,
/// anything else by equality: the reference server's rule for `extra` and extension echoes.
#[must_use]
pub fn is_subset(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|other| is_subset(value, other)))
        }
        (part, whole) => part == whole,
    }
}
