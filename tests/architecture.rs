//! Holds every file below `src/` to the table in ARCHITECTURE.md: who may use whom, no file
//! without a row, no file without `//!`, no `.unwrap()` outside tests. Owns no rule of its own
//! beyond those; to change who may use whom, change the table. The resume tables of the same
//! document are held to in the files below `architecture/`.

#[path = "architecture/drill_table.rs"]
mod drill_table;
#[cfg(feature = "clickhouse")]
#[path = "architecture/overwrite_tables.rs"]
mod overwrite_tables;
#[path = "architecture/restore_table.rs"]
mod restore_table;
#[path = "architecture/resume_tables.rs"]
mod resume_tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// What the words in the table's last column stand for: runs of path segments.
const GROUPS: [(&str, &[&str]); 3] = [
    ("*clock*", &["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"]),
    ("*wall clock*", &["SystemTime::now", "Timestamp::now", "Zoned::now"]),
    ("*environment*", &["std::env", "env::var", "env::var_os", "env::args", "process::exit"]),
];

/// A row of the table.
#[derive(Clone, Debug)]
struct Row {
    module: String,
    inside: Vec<String>,
    outside: Vec<String>,
    never: Vec<String>,
}

/// `a/*` covers `a` and all below it, anything else itself, `everything` all.
fn covers(pattern: &str, module: &str) -> bool {
    match pattern.strip_suffix("/*") {
        Some(folder) => module == folder || module.starts_with(&format!("{folder}/")),
        None => pattern == "everything" || pattern == module,
    }
}

/// Words of a cell: those in backticks or asterisks, and a bare `everything`.
fn words(cell: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = cell.trim();
    while let Some(mark) = rest.chars().next() {
        let end = match mark {
            '`' | '*' => rest[1..].find(mark).map_or(rest.len(), |end| end + 2),
            _ => rest.find(' ').unwrap_or(rest.len()),
        };
        found.push(rest[..end].trim_matches('`').to_owned());
        rest = rest[end..].trim_start();
    }
    found
}

fn table(markdown: &str) -> Vec<Row> {
    let header = "| module | may use from the crate | may use from outside | never |";
    let lines = markdown.lines().skip_while(|line| *line != header).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(words).collect();
        let [module, inside, outside, never] = cells.as_slice() else {
            panic!("row with {} cells: {line}", cells.len());
        };
        let module = module.first().unwrap_or_else(|| panic!("row without a module: {line}"));
        let never = never.iter().flat_map(|word| never_paths(word)).collect();
        Row { module: module.clone(), inside: inside.clone(), outside: outside.clone(), never }
    });
    let rows: Vec<_> = rows.collect();
    assert!(!rows.is_empty(), "ARCHITECTURE.md has no table under {header}");
    rows
}

fn never_paths(word: &str) -> Vec<String> {
    match GROUPS.iter().find(|(name, _)| *name == word) {
        Some((_, paths)) => paths.iter().map(|path| (*path).to_owned()).collect(),
        None if word.starts_with('*') => panic!("the table's {word} is not known here"),
        None => vec![word.to_owned()],
    }
}

/// Everything a file says outside its tests: its paths, made absolute, and its unwraps.
#[derive(Default)]
struct Said {
    /// Module path of the place that is being read.
    here: Vec<String>,
    paths: BTreeSet<Vec<String>>,
    unwraps: usize,
}

impl Said {
    fn path(&mut self, segments: Vec<String>) {
        let mut base = match segments.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.here.clone(),
            _ => {
                self.paths.insert(segments);
                return;
            }
        };
        let mut inner = segments.iter().skip_while(|s| matches!(s.as_str(), "crate" | "self"));
        let mut next = inner.next();
        while next.is_some_and(|segment| segment == "super") {
            base.pop();
            next = inner.next();
        }
        base.insert(0, "crate".to_owned());
        base.extend(next.into_iter().chain(inner).cloned());
        self.paths.insert(base);
    }

    fn use_tree(&mut self, tree: &syn::UseTree, mut before: Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.use_tree(&path.tree, before);
            }
            syn::UseTree::Name(syn::UseName { ident })
            | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                if ident != "self" {
                    before.push(ident.to_string());
                }
                self.path(before);
            }
            syn::UseTree::Glob(_) => self.path(before),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.use_tree(tree, before.clone()));
            }
        }
    }

    /// Paths in the arguments of macros and attributes, which syn leaves as tokens.
    fn tokens(&mut self, tokens: &str) {
        let text = tokens.replace(" ::", "::").replace(":: ", "::");
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for word in text.split(|c| !is_path(c)).filter(|word| word.contains("::")) {
            let segments = word.split("::").filter(|s| !s.is_empty()).map(str::to_owned);
            self.path(segments.collect());
        }
        self.unwraps += text.replace(' ', "").matches(".unwrap()").count();
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        meta => meta.path().is_ident("test"),
    })
}

impl<'ast> Visit<'ast> for Said {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => item.attrs.as_slice(),
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.here.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.here.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(path.segments.iter().map(|s| s.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.tokens(&mac.tokens.to_string());
        visit::visit_macro(self, mac);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.tokens(&list.tokens.to_string());
        visit::visit_meta_list(self, list);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.unwraps += usize::from(call.method == "unwrap");
        visit::visit_expr_method_call(self, call);
    }
}

/// The crate under test as the rules see it.
struct Crate {
    rows: Vec<Row>,
    /// Names of modules, `a/b` for `src/a/b.rs` and for `src/a/b/mod.rs`, and their sources.
    files: BTreeMap<String, String>,
    /// Names by which dependencies are used.
    dependencies: BTreeSet<String>,
}

impl Crate {
    fn open(root: &Path) -> Self {
        let read = |path: &Path| fs::read_to_string(path).expect("a file of the tree is readable");
        let source = root.join("src");
        let mut paths = Vec::new();
        collect(&source, &mut paths);
        let module = |path: &Path| {
            let inner = path.strip_prefix(&source).expect("below src").with_extension("");
            let name = inner.to_string_lossy().into_owned();
            name.strip_suffix("/mod").unwrap_or(&name).to_owned()
        };
        Self {
            rows: table(&read(&root.join("ARCHITECTURE.md"))),
            files: paths.iter().map(|path| (module(path), read(path))).collect(),
            dependencies: dependencies(&read(&root.join("Cargo.toml"))),
        }
    }

    /// The most exact row for a module.
    fn row(&self, module: &str) -> Option<&Row> {
        let rows = self.rows.iter().filter(|row| covers(&row.module, module));
        rows.max_by_key(|row| (row.module == module, row.module.len()))
    }

    /// The file that a path inside the crate leads to.
    fn module_of(&self, path: &[String]) -> String {
        let names = (1..=path.len()).rev().map(|n| path[..n].join("/"));
        names.into_iter().find(|name| self.files.contains_key(name)).unwrap_or("lib".into())
    }

    fn faults(&self, module: &str) -> Vec<String> {
        let source = &self.files[module];
        let mut faults = Vec::new();
        if !source.starts_with("//!") {
            faults.push("does not start with //! (what it owns, what it never does)".to_owned());
        }
        let Some(row) = self.row(module) else {
            faults.push("has no row in ARCHITECTURE.md".to_owned());
            return faults;
        };
        let file = syn::parse_file(source).unwrap_or_else(|e| panic!("{module}: {e}"));
        let here = module.split('/').filter(|part| !matches!(*part, "lib" | "main"));
        let mut said = Said { here: here.map(str::to_owned).collect(), ..Said::default() };
        said.visit_file(&file);
        faults.extend(said.paths.iter().filter_map(|path| self.fault(module, row, path)));
        if said.unwraps > 0 {
            faults.push(format!("has {} .unwrap() outside tests", said.unwraps));
        }
        faults
    }

    fn fault(&self, module: &str, row: &Row, path: &[String]) -> Option<String> {
        let text = path.join("::");
        let within = |part: &&String| format!("::{text}::").contains(&format!("::{part}::"));
        if let Some(never) = row.never.iter().find(within) {
            return Some(format!("uses {text}, and never may use {never}"));
        }
        let first = path.first()?;
        if first == "crate" || first == "deltakeep" {
            let used = self.module_of(&path[1..]);
            // lib.rs only says which modules there are; one row's files are one thing.
            let free = module == "lib" || used == "lib" || used == module;
            let kin = self.row(&used).is_some_and(|other| other.module == row.module);
            let allowed = free || kin || row.inside.iter().any(|pattern| covers(pattern, &used));
            return (!allowed).then(|| format!("uses {used} ({text})"));
        }
        let allowed = row.outside.iter().any(|name| name == first || name == "everything");
        (self.dependencies.contains(first) && !allowed).then(|| format!("uses {text}"))
    }
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree is readable") {
        let path = entry.expect("an entry of the tree is readable").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Names in `[dependencies]`, as code spells them.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let section = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let names = section.take_while(|line| !line.starts_with('[')).filter_map(|line| {
        let (name, _) = line.split_once('=')?;
        Some(name.trim().replace('-', "_"))
    });
    // The one crate here whose library has another name than its package.
    names.map(|name| if name == "md_5" { "md5".to_owned() } else { name }).collect()
}

#[test]
fn every_file_keeps_to_its_row() {
    let tree = Crate::open(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(tree.files.len() > 10 && tree.dependencies.contains("rdkafka"), "tree was not read");
    let of = |module: &String| {
        let faults = tree.faults(module).into_iter();
        faults.map(|fault| format!("{module} {fault}")).collect::<Vec<_>>()
    };
    let faults: Vec<_> = tree.files.keys().flat_map(of).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A crate of one file `plan` beside two others, to see that the rules bite.
fn check_plan(source: &str) -> Vec<String> {
    let markdown = "| module | may use from the crate | may use from outside | never |\n|-|-|-|-|\n\
        | `model/*` | | | |\n| `journal` | | | |\n\
        | `plan/*` | `model/*` | `serde` | *clock* *environment* |\n";
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let tree = Crate {
        rows: table(markdown),
        files: [file("model", "//!"), file("journal", "//!"), file("plan", source)].into(),
        dependencies: ["serde", "tokio"].map(str::to_owned).into(),
    };
    tree.faults("plan")
}

#[test]
fn what_a_row_allows_passes() {
    let source = "//! x\nuse crate::model::Delta; use serde::Serialize; use std::fmt;\n\
        #[cfg(test)] mod tests { use crate::journal::Fact; fn f() { x.unwrap(); } }";
    assert_eq!(check_plan(source), Vec::<String>::new());
}

#[test]
fn what_a_row_forbids_is_found_wherever_it_hides() {
    let breaks = [
        "use crate::journal::Fact;",
        "use super::journal;",
        "use crate::{model::Delta, journal};",
        "fn f() { crate::journal::open() }",
        "fn f() { vec![crate::journal::open()]; }",
        "use tokio::time;",
        "fn f() { tokio::spawn(x); }",
        "fn f() { tokio::select! {} }",
        "#[derive(tokio::Thing)] struct S;",
        "use std::time::SystemTime; fn f() { SystemTime::now(); }",
        "fn f() { std::time::Instant::now(); }",
        "use std::env;",
        "fn f() { std::process::exit(1) }",
        "fn f() { x.unwrap(); }",
        "fn f() { print!(\"{}\", x.unwrap()); }",
        "mod inner { use super::super::journal::Fact; }",
    ];
    for source in breaks {
        let faults = check_plan(&format!("//! x\n{source}"));
        assert_eq!(faults.len(), 1, "{source}: {faults:?}");
    }
    assert_eq!(check_plan("fn f() {}").len(), 1, "a file without //! passed");
}
