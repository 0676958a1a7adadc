//! Records of writers that are not ours: fields are found by name through the writer's schema, as
//! long as it is a record of plain fields. Avro's own decoder is not used, because a schema that
//! contains itself or a length of 500 MB would take it down; here nothing is nested and nothing
//! is allocated beyond the bytes that are there. Bodies of rows are read with it in `rows`, where
//! sums are wanted; a backup never reads one.

use std::borrow::Cow;
use std::str::FromStr;

use apache_avro::schema::UuidSchema;
use apache_avro::{Codec, Schema};

use super::FormatError;
use super::bytes::Cursor;
use super::container::{Header, blocks};

/// The most that packed blocks of one container may grow to.
pub(super) const MAX_UNPACKED: usize = 256 << 20;

/// A value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    Number(i64),
    Text(&'a str),
    /// Bytes and floating-point numbers, whose values nobody here asks for.
    Other,
}

/// What a plain field, or one branch of its union, is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    Float,
    Double,
    Bytes,
    Text,
}

#[derive(Debug)]
pub(super) enum Field {
    Plain(Kind),
    Union(Vec<Kind>),
}

/// The wanted fields of one record.
pub(super) struct Fields<'v, 'a> {
    names: &'v [&'static str],
    values: &'v [Value<'a>],
}

impl<'a> Fields<'_, 'a> {
    /// A number.
    pub(super) fn number(&self, place: usize) -> Result<i64, FormatError> {
        match self.values[place] {
            Value::Number(number) => Ok(number),
            _ => Err(self.wrong(place, "a number")),
        }
    }

    /// A text.
    pub(super) fn text(&self, place: usize) -> Result<&'a str, FormatError> {
        self.optional_text(place)?.ok_or_else(|| self.wrong(place, "a text"))
    }

    /// A text or null.
    pub(super) fn optional_text(&self, place: usize) -> Result<Option<&'a str>, FormatError> {
        match self.values[place] {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            _ => Err(self.wrong(place, "a text")),
        }
    }

    /// True or false.
    pub(super) fn boolean(&self, place: usize) -> Result<bool, FormatError> {
        match self.values[place] {
            Value::Boolean(value) => Ok(value),
            _ => Err(self.wrong(place, "a boolean")),
        }
    }

    fn wrong(&self, place: usize, wanted: &str) -> FormatError {
        let reason = format!("{:?} is not {wanted}", self.values[place]);
        FormatError::BadField { field: self.names[place], reason }
    }
}

/// Reads every record of a container whose header is `header` and hands the fields of those
/// `names` to `each`, in that order.
///
/// # Errors
/// [`FormatError`] where schema, codec, blocks or records do not hold what they say.
pub(super) fn read_records<T>(
    header: &Header<'_>,
    bytes: &[u8],
    names: &[&'static str],
    mut each: impl FnMut(&Fields<'_, '_>) -> Result<T, FormatError>,
) -> Result<Vec<T>, FormatError> {
    let (fields, places) = plan(header.schema()?, names)?;
    let codec = header.codec()?;
    let mut records = Vec::new();
    let mut budget = MAX_UNPACKED;
    for block in blocks(bytes, header.len, header.sync) {
        let block = block?;
        let data = unpack(codec, block.data, &mut budget)?;
        let mut cursor = Cursor::new(&data, 0);
        let mut values = vec![Value::Null; names.len()];
        for _ in 0..block.records {
            for (field, place) in fields.iter().zip(&places) {
                let value = field.read(&mut cursor)?;
                if let Some(place) = place {
                    values[*place] = value;
                }
            }
            records.push(each(&Fields { names, values: &values })?);
        }
        cursor.finish("the records of a block")?;
    }
    Ok(records)
}

/// The writer's fields in order, and where each goes among the wanted ones.
fn plan(
    schema: &str,
    names: &[&'static str],
) -> Result<(Vec<Field>, Vec<Option<usize>>), FormatError> {
    let bad = |reason: String| FormatError::BadSchema { reason };
    let schema = Schema::parse_str(schema).map_err(|error| bad(error.to_string()))?;
    let Schema::Record(record) = schema else { return Err(bad("not a record".into())) };
    let mut fields = Vec::new();
    let mut places = Vec::new();
    for field in &record.fields {
        let kind = Field::of(&field.schema);
        fields.push(kind.ok_or_else(|| bad(format!("field {:?} is not plain", field.name)))?);
        places.push(names.iter().position(|name| *name == field.name));
    }
    match names.iter().enumerate().find(|(place, _)| !places.contains(&Some(*place))) {
        Some((_, field)) => Err(FormatError::BadField { field, reason: "missing".into() }),
        None => Ok((fields, places)),
    }
}

/// A block as its records' bytes; what it grows to is taken from `budget`.
pub(super) fn unpack<'a>(
    codec: Option<&str>,
    data: &'a [u8],
    budget: &mut usize,
) -> Result<Cow<'a, [u8]>, FormatError> {
    let Some(name) = codec.filter(|name| *name != "null") else { return Ok(Cow::Borrowed(data)) };
    let Ok(codec) = Codec::from_str(name) else {
        return Err(FormatError::UnknownCodec { codec: name.to_owned() });
    };
    let failed = |reason: String| FormatError::Unpack { codec: name.to_owned(), reason };
    let mut bytes = data.to_vec();
    codec.decompress(&mut bytes).map_err(|error| failed(error.to_string()))?;
    let left = budget.checked_sub(bytes.len());
    *budget = left.ok_or_else(|| failed(format!("more than {MAX_UNPACKED} bytes")))?;
    Ok(Cow::Owned(bytes))
}

impl Field {
    /// None for anything nested or named.
    pub(super) fn of(schema: &Schema) -> Option<Self> {
        match schema {
            Schema::Union(union) => {
                union.variants().iter().map(Kind::of).collect::<Option<_>>().map(Self::Union)
            }
            other => Kind::of(other).map(Self::Plain),
        }
    }

    pub(super) fn read<'a>(&self, cursor: &mut Cursor<'a>) -> Result<Value<'a>, FormatError> {
        match self {
            Self::Plain(kind) => kind.read(cursor),
            Self::Union(kinds) => {
                let at = cursor.at();
                let found = cursor.long("union branch")?;
                let kind = usize::try_from(found).ok().and_then(|branch| kinds.get(branch));
                let what = "union branch";
                kind.ok_or(FormatError::BadLength { what, at, found })?.read(cursor)
            }
        }
    }
}

impl Kind {
    fn of(schema: &Schema) -> Option<Self> {
        Some(match schema {
            Schema::Null => Self::Null,
            Schema::Boolean => Self::Boolean,
            Schema::Int
            | Schema::Long
            | Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Self::Number,
            Schema::Float => Self::Float,
            Schema::Double => Self::Double,
            Schema::Bytes => Self::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Self::Text,
            _ => return None,
        })
    }

    fn read<'a>(self, cursor: &mut Cursor<'a>) -> Result<Value<'a>, FormatError> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Boolean => Value::Boolean(cursor.boolean("boolean")?),
            Self::Number => Value::Number(cursor.long("number")?),
            Self::Float => cursor.take(4, "float").map(|_| Value::Other)?,
            Self::Double => cursor.take(8, "double").map(|_| Value::Other)?,
            Self::Bytes => cursor.blob("bytes").map(|_| Value::Other)?,
            Self::Text => Value::Text(cursor.text("text")?),
        })
    }
}
