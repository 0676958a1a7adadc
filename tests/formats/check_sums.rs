//! CHECK_SUM from the rows of messages, held to what real nodes answered: the conformance vectors,
//! and messages of connectors with the sums recorded of the same tables and deltas.

use apache_avro::types::Value;
use apache_avro::{Schema, Writer};
use deltakeep::format::container::Header;
use deltakeep::format::{RowReader, row_schema, row_value};
use deltakeep::model::{Column, ColumnType};

use crate::support::{Recorded, recorded};

fn value(text: &str) -> u128 {
    row_value(text.as_bytes()).into()
}

#[test]
fn the_vectors_of_real_nodes_are_met() {
    let text = include_str!("../fixtures/node/vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    let vector = vectors.iter().find(|vector| vector["id"] == "V18").unwrap();
    let (rows, sums) = (vector["rows"].as_array().unwrap(), vector["sums"].as_array().unwrap());
    for row in rows {
        let found =
            value(row["text"].as_str().unwrap()) / u128::from(row["norm"].as_u64().unwrap());
        assert_eq!(found, u128::from(row["value"].as_u64().unwrap()), "{row}");
    }
    for sum in sums {
        let texts = sum["row_texts"].as_array().unwrap();
        let found: u128 = texts.iter().map(|text| value(text.as_str().unwrap())).sum();
        assert_eq!(found.to_string(), sum["check_result"].as_str().unwrap(), "{sum}");
    }
    assert_eq!((rows.len(), sums.len()), (1, 7));
}

/// The rows of messages whose names begin so: texts, and whether they were removed.
fn rows(messages: &[Recorded], name: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let of_table = messages.iter().filter(|message| message.name.starts_with(name));
    for Recorded { body, .. } in of_table {
        let mut reader = RowReader::of(Header::read(body).unwrap().schema().unwrap()).unwrap();
        let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap();
        reader.read(body, |row| found.push((text(row.text), row.is_removed))).unwrap();
    }
    found
}

#[test]
fn recorded_messages_add_up_to_the_sums_recorded_of_their_tables() {
    // Topic, and what the node answered to CHECK_SUM of the same table and delta
    // (06_import_restore, 07_edge_same_delta, adqm/a01_ddl_history, a03_load).
    let cases = [
        ("adp/rs_comp_d0/", 3_418_869_198),
        ("adp/rs_comp_d1/", 3_298_138_015),
        ("adp/rs_comp_d2/", 0),
        ("adp/rs_comp_d3/", 0),
        ("adp/edge_d0/", 5_126_699_920),
        ("adp/edge_d1/", 7_768_047_916),
        // The second unload never answered: what was loaded from this topic has this sum, the source
        // has 1 838 771 400.
        ("adp/edge_d2/", 929_118_053),
        ("adqm/r1_comp_d0/", 3_418_869_198),
        ("adqm/r1_comp_d1/", 3_298_138_015),
        ("adqm/r1_comp_d3/", 9_287_840_247),
        ("adqm/r1_comp_d4/", 828_716_646),
        ("adqm/r1_comp_d5/", 1_630_889_057),
        ("adqm/r1_comp_d6/", 4_174_172_920),
        ("adqm/r1_both_t_d0/", 3_281_806_999),
        ("adqm/r1_both_t_d1/", 3_312_216_419),
        ("adqm/r1_both_t_d3/", 1_715_036_771),
    ];
    let messages = recorded();
    let mut found = Vec::new();
    for (name, _) in cases {
        let mut sum = 0;
        let rows = rows(&messages, name);
        for (text, is_removed) in &rows {
            // A version that was added and removed counts once.
            let is_twice = *is_removed && rows.contains(&(text.clone(), false));
            sum += if is_twice { 0 } else { value(text) };
        }
        found.push((name, sum));
    }
    assert_eq!(found, cases);
}

#[test]
fn every_type_has_the_text_that_nodes_add_up() {
    // a11_more: sums over single columns of the table `ft`.
    let cases = [
        ("b", 14_956_745_083),
        ("tm", 8_362_064_358),
        ("ts", 8_664_150_960),
        ("dt", 7_912_128_141),
        ("c", 15_283_059_129),
        ("u", 8_363_937_456),
    ];
    let messages = recorded();
    for name in ["adqm/ft_adp_1795243032/", "adqm/ft_adqm_1795243031/"] {
        let message = messages.iter().find(|message| message.name.starts_with(name)).unwrap();
        let schema = Header::read(&message.body).unwrap().schema().unwrap().to_owned();
        let columns = RowReader::of(&schema).unwrap().columns().to_vec();
        let texts = rows(&messages, name);
        for (column, wanted) in cases {
            let place = columns.iter().position(|name| name == column).unwrap();
            let sum: u128 =
                texts.iter().map(|(text, _)| value(text.split(';').nth(place).unwrap())).sum();
            assert_eq!(sum, wanted, "{name}{column}");
        }
    }
}

#[test]
fn texts_of_extremes_and_nulls_are_those_of_the_rules() {
    let column = |name: &str, kind| Column { name: name.into(), kind };
    let columns = [
        column("big", ColumnType::Bigint),
        column("flag", ColumnType::Boolean),
        column("f", ColumnType::Float),
        column("day", ColumnType::Date),
        column("text", ColumnType::Varchar(None)),
        column("d", ColumnType::Double),
    ];
    let schema = row_schema(&columns);
    let union = |value: Option<Value>| match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    };
    let parsed = Schema::parse_str(&schema).unwrap();
    let mut writer = Writer::new(&parsed, Vec::new()).unwrap();
    let mut append = |values: [Option<Value>; 6], removed: bool| {
        let op = Some(Value::Int(i32::from(removed)));
        let names = columns.iter().map(|column| column.name.clone()).chain(["sys_op".into()]);
        let values = values.into_iter().chain([op]).map(union);
        writer.append_value(Value::Record(names.zip(values).collect())).unwrap();
    };
    let (least, most) = (Value::Long(i64::MIN), Value::Long(i64::MAX));
    let text = |text: &str| Some(Value::String(text.into()));
    let yes = Some(Value::Boolean(true));
    append(
        [Some(least), yes, Some(Value::Float(0.1)), Some(Value::Int(-1)), text("é;"), None],
        true,
    );
    append([Some(most), Some(Value::Boolean(false)), None, None, text(""), None], false);
    append([None, None, None, None, None, Some(Value::Double(f64::NAN))], false);
    let body = writer.into_inner().unwrap();
    let mut reader = RowReader::of(&schema).unwrap();
    assert_eq!(reader.columns(), ["big", "flag", "day", "text"]);
    let mut found = Vec::new();
    let row = |row: deltakeep::format::Row<'_>| {
        found.push((String::from_utf8(row.text.to_vec()).unwrap(), row.is_removed));
    };
    reader.read(&body, row).unwrap();
    let wanted = [
        ("-9223372036854775808;1;-1;é;", true),
        ("9223372036854775807;0;;", false),
        (";;;", false),
    ];
    assert_eq!(found, wanted.map(|(text, removed)| (text.to_owned(), removed)));
}
