//! Checks that files and functions are short, or that the list says why they are not.

use syn::{ImplItemFn, ItemFn, TraitItemFn, visit::Visit};

use super::{
    finding::{Finding, Kind},
    list::{List, not_needed},
    tree::Tree,
};

/// The most lines of a file.
const FILE_LINES_MAX: usize = 500;

/// The most lines of a function, from its name to its last brace: a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Finds the files and functions that are too long, and entries of the list that are not.
pub(super) fn check(tree: &Tree, list: &List) -> Vec<Finding> {
    let mut findings = files(tree, list);
    findings.extend(functions(tree, list));
    findings
}

fn files(tree: &Tree, list: &List) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = Vec::new();
    for (file, text) in tree.with_extension(&["rs", "py", "pyi"]) {
        let lines = text.lines().count();
        if lines <= FILE_LINES_MAX {
            continue;
        }
        needed.push(file);
        if !list.long_files.contains_key(file) {
            let text = format!(
                "{lines} lines; split it at {FILE_LINES_MAX}, or give the reason under \
                 [long-files] in xtask/tidy.toml"
            );
            findings.push(Finding::of(Kind::Lengths, file, text));
        }
    }
    let idle = list.long_files.keys().filter(|file| !needed.contains(&file.as_str()));
    let why = format!("no such file has more than {FILE_LINES_MAX} lines");
    findings.extend(idle.map(|file| not_needed(Kind::Lengths, tree, file, &why)));
    findings
}

fn functions(tree: &Tree, list: &List) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = Vec::new();
    for (file, parsed) in &tree.rust {
        let Ok(parsed) = parsed else { continue };
        let mut long = Long::default();
        long.visit_file(parsed);
        for (name, line, lines) in long.0 {
            let entry = format!("{file}: {name}");
            if !list.long_functions.contains_key(&entry) {
                let text = format!(
                    "`{name}` has {lines} lines; split it at {FUNCTION_LINES_MAX}, or give the \
                     reason under [long-functions] in xtask/tidy.toml"
                );
                findings.push(Finding::at(Kind::Lengths, file, line, text));
            }
            needed.push(entry);
        }
    }
    let idle = list.long_functions.keys().filter(|entry| !needed.contains(entry));
    let why = format!("no such function has more than {FUNCTION_LINES_MAX} lines");
    findings.extend(idle.map(|entry| not_needed(Kind::Lengths, tree, entry, &why)));
    findings
}

/// The long functions of a file: name, first line and number of lines.
#[derive(Default)]
struct Long(Vec<(String, usize, usize)>);

impl Long {
    fn look(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let lines = block.brace_token.span.close().end().line + 1 - first;
        if lines > FUNCTION_LINES_MAX {
            self.0.push((signature.ident.to_string(), first, lines));
        }
    }
}

impl<'a> Visit<'a> for Long {
    fn visit_item_fn(&mut self, item: &'a ItemFn) {
        self.look(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        self.look(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a TraitItemFn) {
        if let Some(block) = &item.default {
            self.look(&item.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}
