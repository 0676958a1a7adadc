//! The three reports as files: well-formed, self-contained, and text stays text whatever it says.

use std::collections::BTreeSet;

use deltakeep::drill::Report;
use deltakeep::drill::report::{Failure, Part, Verdict, junit, page};
use quick_xml::Reader;
use quick_xml::events::Event;

use super::scenario::Scenario;

const HOSTILE: &str = "t\"'><script>alert(1)</script><img src=\"http://evil.example/x\" \
     onerror=x>&amp;\u{0}\u{1b}]]><!--";

/// Element names, ids and all attribute values of a document that must be well-formed.
struct Read {
    names: Vec<String>,
    ids: Vec<String>,
    values: Vec<(String, String)>,
    text: String,
}

fn read(xml: &str) -> Read {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = true;
    let mut found = Read { names: vec![], ids: vec![], values: vec![], text: String::new() };
    let mut open: Vec<String> = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                see(&mut found, &start);
                open.push(found.names.last().unwrap().clone());
            }
            Event::Empty(start) => see(&mut found, &start),
            Event::End(end) => {
                let name = end.name().as_ref().to_owned();
                assert_eq!(open.pop(), Some(name));
            }
            Event::Text(text) => found.text.push_str(&text),
            Event::GeneralRef(entity) => {
                let name: &str = &entity;
                let letter = format!("&{name};");
                found.text.push_str(&quick_xml::escape::unescape(&letter).unwrap());
            }
            Event::Eof => break,
            Event::Decl(_) | Event::DocType(_) => {}
            other => panic!("nothing of this kind is written: {other:?}"),
        }
    }
    assert!(open.is_empty(), "{open:?} is not closed");
    found
}

fn see(found: &mut Read, start: &quick_xml::events::BytesStart<'_>) {
    found.names.push(start.name().as_ref().to_owned());
    for attribute in start.attributes() {
        let attribute = attribute.unwrap();
        let name = attribute.key.as_ref().to_owned();
        let raw = attribute.value.clone();
        let value = quick_xml::escape::unescape(&raw).unwrap().into_owned();
        if name == "id" {
            found.ids.push(value.clone());
        }
        found.values.push((name, value));
    }
}

async fn report() -> Report {
    Scenario::filled(6).await.finish().await
}

/// A report of a failed drill, in which every text from outside is hostile.
async fn hostile() -> Report {
    let mut report = report().await;
    let text = HOSTILE.to_owned();
    report.verdict = Verdict::Failed;
    report.topic = text.clone();
    report.source.node = text.clone();
    report.scratch.place.datamart = text.clone();
    report.warnings.push(text.clone());
    report.failures.push(Failure {
        part: Part::Restore,
        text: text.clone(),
        delta: Some(1),
        table: Some(text.clone()),
        partition: Some(0),
        offset: Some(7),
    });
    let entities = report.entities.get_or_insert_default();
    entities.missing.push(text.clone());
    for bar in &mut report.timeline {
        bar.table = bar.table.as_ref().map(|_| text.clone());
    }
    for table in report.deltas.iter_mut().flat_map(|delta| &mut delta.tables) {
        table.table = text.clone();
        table.reason = Some(text.clone());
        table.outcome = "differs";
        table.check_sum.scratch = Some(text.clone());
    }
    report
}

fn seen(text: &str) -> String {
    text.replace(['\u{0}', '\u{1b}'], "\u{fffd}")
}

#[tokio::test(start_paused = true)]
async fn the_page_is_whole_and_loads_nothing() {
    for report in [report().await, hostile().await] {
        let html = page(&report);
        assert!(html.starts_with("<!DOCTYPE html>"));
        let found = read(&html);
        let ids: BTreeSet<_> = found.ids.iter().map(String::as_str).collect();
        assert_eq!(ids.len(), found.ids.len(), "ids stand once: {:?}", found.ids);
        for id in ["verdict", "figures", "timeline", "deltas", "tables", "entities"] {
            assert!(ids.contains(id), "{id} is missing among {ids:?}");
        }
        assert_eq!(ids.contains("failures"), report.verdict == Verdict::Failed);
        for name in
            ["script", "link", "img", "iframe", "object", "a", "base", "form", "image", "use"]
        {
            assert!(!found.names.iter().any(|found| found == name), "<{name}> is in the page");
        }
        for (name, value) in &found.values {
            let loads = ["src", "href", "xlink:href", "srcset", "action", "data", "style"];
            assert!(!loads.contains(&&name[..]) && !name.starts_with("on"), "{name}={value}");
        }
        assert!(!html.contains("url(") && !html.contains("@import"));
        let rects = found.names.iter().filter(|name| *name == "rect").count();
        assert_eq!(rects, report.timeline.len());
    }
}

#[tokio::test(start_paused = true)]
async fn hostile_names_are_shown_and_do_nothing() {
    let report = hostile().await;
    let (html, xml) = (page(&report), junit(&report));
    for text in [&html, &xml] {
        assert!(!text.contains("<script") && !text.contains("<img") && !text.contains("<!--"));
        assert!(!text.contains('\u{0}') && !text.contains('\u{1b}'));
        assert!(!text.contains("]]>"), "ends no section of anything");
    }
    assert!(read(&html).text.contains(&seen(HOSTILE)));
    let values = read(&xml).values;
    assert!(values.iter().any(|(name, value)| name == "name" && *value == seen(HOSTILE)));
}

#[tokio::test(start_paused = true)]
async fn junit_counts_what_it_lists() {
    for report in [report().await, hostile().await] {
        let found = read(&junit(&report));
        let count = |name: &str| found.names.iter().filter(|found| *found == name).count();
        let first = |wanted: &str| {
            found.values.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
        };
        assert_eq!(count("testsuites"), 1);
        assert_eq!(first("tests"), Some(count("testcase").to_string()));
        assert_eq!(first("failures"), Some(count("failure").to_string()));
        let pairs: usize = report.deltas.iter().map(|delta| delta.tables.len()).sum();
        assert!(count("testcase") > pairs + report.deltas.len(), "{}", count("testcase"));
        assert_eq!(count("failure") > 0, report.verdict == Verdict::Failed);
    }
}

/// The fields that docs/drill.md promises.
#[tokio::test(start_paused = true)]
async fn drill_json_has_the_documented_fields() {
    let json: serde_json::Value = serde_json::from_str(&hostile().await.to_json()).unwrap();
    let (_, documented) = include_str!("../../docs/drill.md").split_once("## drill.json").unwrap();
    assert_eq!(json["schema_version"], 1);
    let mut paths = BTreeSet::new();
    walk(&json, "", &mut paths);
    for path in &paths {
        let field = format!("| `{path}` |");
        assert!(documented.contains(&field), "docs/drill.md does not tell of {path}");
    }
    let rows = documented.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, paths.len(), "docs/drill.md tells of fields that are not there");
}

fn walk(json: &serde_json::Value, path: &str, paths: &mut BTreeSet<String>) {
    match json {
        serde_json::Value::Object(fields) if path != "counts" => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                paths.insert(path.clone());
                walk(value, &path, paths);
            }
        }
        serde_json::Value::Array(values) => {
            for value in values {
                walk(value, &format!("{path}[]"), paths);
            }
        }
        _ => {}
    }
}
