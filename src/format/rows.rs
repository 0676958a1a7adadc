//! Rows of data bodies, decoded one after the other: their text for check sums (PROSTORE.md 2.9)
//! and whether they were added or removed. Owns what a value looks like in such a text; keeps no
//! row, and never reads one that nobody asked for.

use apache_avro::Schema;

use super::FormatError;
use super::bytes::Cursor;
use super::container::{Header, blocks};
use super::flat::{Field, MAX_UNPACKED, Value, unpack};
use super::schema::SYS_OP;

/// A row of a data body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The values of [`RowReader::columns`] joined by `;`: NULL is empty, a boolean 1 or 0, a
    /// number decimal, a text as it is.
    pub text: &'a [u8],
    /// The encoded values of all columns, without `sys_op`: equal for equal rows.
    pub bytes: &'a [u8],
    /// `sys_op` 1: the delta removed it. Else the delta added it.
    pub is_removed: bool,
}

/// Reads the rows of bodies of one schema.
#[derive(Debug)]
pub struct RowReader {
    /// The writer's fields in order, and whether each is among the columns of the text.
    fields: Vec<(Field, bool)>,
    columns: Vec<String>,
    text: Vec<u8>,
}

impl RowReader {
    /// For bodies of this schema: a record of plain fields, `sys_op` last. Floating-point columns
    /// are not in the text, because datasources print them differently (DESIGN D4.5).
    ///
    /// # Errors
    /// [`FormatError::BadSchema`].
    pub fn of(schema: &str) -> Result<Self, FormatError> {
        let bad = |reason: String| FormatError::BadSchema { reason };
        let schema = Schema::parse_str(schema).map_err(|error| bad(error.to_string()))?;
        let Schema::Record(record) = schema else { return Err(bad("not a record".into())) };
        let Some((last, own)) = record.fields.split_last().filter(|(last, _)| last.name == SYS_OP)
        else {
            return Err(bad(format!("{SYS_OP} is not the last field")));
        };
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for field in own {
            let kind = Field::of(&field.schema);
            let kind = kind.ok_or_else(|| bad(format!("field {:?} is not plain", field.name)))?;
            let is_exact = is_exact(&field.schema);
            if is_exact {
                columns.push(field.name.clone());
            }
            fields.push((kind, is_exact));
        }
        let kind = Field::of(&last.schema).ok_or_else(|| bad(format!("{SYS_OP} is not plain")))?;
        fields.push((kind, false));
        Ok(Self { fields, columns, text: Vec::new() })
    }

    /// The columns whose values are in the text of a row, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Hands every row of a body of this reader's schema to `each`.
    ///
    /// # Errors
    /// [`FormatError`] where the body, its blocks or rows do not hold what they say; rows before
    /// that were handed over.
    pub fn read(&mut self, body: &[u8], mut each: impl FnMut(Row<'_>)) -> Result<(), FormatError> {
        let header = Header::read(body)?;
        let codec = header.codec()?;
        let mut budget = MAX_UNPACKED;
        for block in blocks(body, header.len, header.sync) {
            let block = block?;
            let data = unpack(codec, block.data, &mut budget)?;
            let mut cursor = Cursor::new(&data, 0);
            for _ in 0..block.records {
                self.read_row(&data, &mut cursor, &mut each)?;
            }
            cursor.finish("the rows of a block")?;
        }
        Ok(())
    }

    fn read_row(
        &mut self,
        data: &[u8],
        cursor: &mut Cursor<'_>,
        each: &mut impl FnMut(Row<'_>),
    ) -> Result<(), FormatError> {
        let begin = cursor.at();
        self.text.clear();
        let (last, own) = self.fields.split_last().ok_or(FormatError::NotADataKey)?;
        let mut is_first = true;
        for (field, is_summed) in own {
            let value = field.read(cursor)?;
            if *is_summed {
                if !std::mem::take(&mut is_first) {
                    self.text.push(b';');
                }
                put_text(&mut self.text, value)?;
            }
        }
        let end = cursor.at();
        // It takes at least a byte: a count of rows without end finds the end of its bytes.
        let is_removed = match last.0.read(cursor)? {
            Value::Number(0) => false,
            Value::Number(1) => true,
            other => {
                let reason = format!("{other:?} is neither 0 nor 1");
                return Err(FormatError::BadField { field: SYS_OP, reason });
            }
        };
        each(Row { text: &self.text, bytes: &data[begin..end], is_removed });
        Ok(())
    }
}

fn put_text(text: &mut Vec<u8>, value: Value<'_>) -> Result<(), FormatError> {
    use std::io::Write;

    match value {
        Value::Null => {}
        Value::Boolean(value) => text.push(if value { b'1' } else { b'0' }),
        Value::Number(number) => drop(write!(text, "{number}")),
        Value::Text(value) => text.extend_from_slice(value.as_bytes()),
        Value::Other => {
            let reason = "a value without a text".to_owned();
            return Err(FormatError::BadSchema { reason });
        }
    }
    Ok(())
}

/// Whether all datasources print values of the type alike.
fn is_exact(schema: &Schema) -> bool {
    match schema {
        Schema::Float | Schema::Double => false,
        Schema::Union(union) => union.variants().iter().all(is_exact),
        _ => true,
    }
}
