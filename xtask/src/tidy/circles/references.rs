//! The paths that the code of a target names: in `use` lines, in code, within macros and
//! attributes.

use proc_macro2::{TokenStream, TokenTree};
use syn::{ItemMod, ItemUse, Macro, MetaList, Path, Visibility, visit::Visit};

use super::modules::{Id, Modules, flatten};
use crate::tidy::tree::Tree;

/// A path, and where it stands.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) from: Id,
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

/// All paths of a target that may lead to one of its modules.
#[derive(Debug)]
pub(super) struct References(pub(super) Vec<Reference>);

impl References {
    /// Reads the files of all modules.
    pub(super) fn of(tree: &Tree, modules: &Modules) -> Self {
        let mut references = Vec::new();
        for (id, file) in modules.roots_of_files() {
            if let Some(Ok(parsed)) = tree.rust.get(file) {
                let mut reader = Reader { modules, module: id, references: &mut references };
                reader.visit_file(parsed);
            }
        }
        Self(references)
    }
}

struct Reader<'a> {
    modules: &'a Modules,
    module: Id,
    references: &'a mut Vec<Reference>,
}

impl Reader<'_> {
    fn add(&mut self, path: Vec<String>, line: usize) {
        self.references.push(Reference { from: self.module, path, line });
    }

    /// Looks for paths in what a macro or an attribute is given, which need not be Rust.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        // How many colons came since the last word.
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if path.is_empty() || colons != 2 {
                        self.finish(&mut path, line);
                        line = word.span().start().line;
                    }
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && colons < 2 => colons += 1,
                TokenTree::Group(group) => {
                    self.finish(&mut path, line);
                    self.tokens(group.stream());
                }
                _ => self.finish(&mut path, line),
            }
        }
        self.finish(&mut path, line);
    }

    fn finish(&mut self, path: &mut Vec<String>, line: usize) {
        if path.len() > 1 {
            self.add(path.clone(), line);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let Some(child) = self.modules.child(self.module, &item.ident.to_string()) else { return };
        if item.content.is_some() {
            let outer = std::mem::replace(&mut self.module, child);
            syn::visit::visit_item_mod(self, item);
            self.module = outer;
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            for (path, _, line) in flatten(&item.tree) {
                self.add(path, line);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.segments.len() > 1 && path.leading_colon.is_none() {
            let words = path.segments.iter().map(|segment| segment.ident.to_string());
            self.add(words.collect(), path.segments[0].ident.span().start().line);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.tokens(call.tokens.clone());
        syn::visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, attribute: &'ast MetaList) {
        self.tokens(attribute.tokens.clone());
        syn::visit::visit_meta_list(self, attribute);
    }

    /// `pub(in crate::x)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_macros() {
        let files = [("a/src/lib.rs", "vec![crate::x::Y, f(super::z::g())]; a!($crate::b::C, d);")];
        let rust = files.map(|(file, text)| (file.to_string(), syn::parse_file(text)));
        let tree = Tree { files: [].into(), texts: [].into(), rust: rust.into_iter().collect() };
        let references = References::of(&tree, &Modules::of(&tree, "a/src/lib.rs"));
        let paths: Vec<String> = references.0.iter().map(|found| found.path.join("::")).collect();
        assert_eq!(paths, ["crate::x::Y", "super::z::g", "crate::b::C"]);
    }
}
