//! The modules of a target: in which file each is, what it defines, and what it names from
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Attribute, Expr, Item, ItemMod, Lit, Meta, UseTree};

use crate::tidy::tree::Tree;

/// A module's place in [`Modules`]. The first is the root.
pub(super) type Id = usize;

/// How deep imports of imports are followed. Longer chains are circles among `use` lines.
const DEPTH_MAX: usize = 16;

#[derive(Debug, Default)]
struct Module {
    file: String,
    name: String,
    parent: Option<Id>,
    children: BTreeMap<String, Id>,
    items: BTreeSet<String>,
    /// Names that stand for paths, by `use`.
    names: BTreeMap<String, Vec<String>>,
    /// Paths whose names are all taken, by `use x::*`.
    globs: Vec<Vec<String>>,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// The module itself, or the one that defines the item.
    pub(super) module: Id,
    /// Whether the path leads to the module and not to one of its items.
    is_module: bool,
    /// Whether an import in the root was on the way.
    pub(super) by_root: bool,
}

/// All modules that the compiler reads for one target.
#[derive(Debug)]
pub(super) struct Modules(Vec<Module>);

impl Modules {
    /// Reads the modules, beginning with the file of the root.
    pub(super) fn of(tree: &Tree, root: &str) -> Self {
        let mut modules = Self(Vec::new());
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        modules.add(tree, root, None, "crate", folder, None);
        modules
    }

    /// The file that a module is in.
    pub(super) fn file(&self, id: Id) -> &str {
        &self.0[id].file
    }

    /// A module as code names it: `crate::a::b`.
    pub(super) fn path(&self, id: Id) -> String {
        let module = &self.0[id];
        match module.parent {
            Some(parent) => format!("{}::{}", self.path(parent), module.name),
            None => module.name.clone(),
        }
    }

    /// The modules that are files of their own, or parts of them, by file.
    pub(super) fn roots_of_files(&self) -> impl Iterator<Item = (Id, &str)> {
        let is_root = |id: &Id| {
            let module = &self.0[*id];
            module.parent.is_none_or(|parent| self.0[parent].file != module.file)
        };
        (0..self.0.len()).filter(is_root).map(|id| (id, self.file(id)))
    }

    /// A module within another one.
    pub(super) fn child(&self, id: Id, name: &str) -> Option<Id> {
        self.0[id].children.get(name).copied()
    }

    /// Adds a module with all modules below it. `items` are given if it stands within a file, and
    /// read from the file otherwise; `folder` is where the files of its children are.
    fn add(
        &mut self,
        tree: &Tree,
        file: &str,
        parent: Option<Id>,
        name: &str,
        folder: &str,
        items: Option<&[Item]>,
    ) {
        // One that cannot be parsed is reported, and stands here without items.
        let parsed = tree.rust.get(file).and_then(|parsed| parsed.as_ref().ok());
        let parsed = parsed.map_or(&[][..], |parsed| &parsed.items);
        let id = self.0.len();
        let module = Module { file: file.into(), name: name.into(), parent, ..Module::default() };
        self.0.push(module);
        if let Some(parent) = parent {
            self.0[parent].children.insert(name.into(), id);
        }
        for item in items.unwrap_or(parsed) {
            match item {
                Item::Mod(inner) => self.declare(tree, id, inner, folder),
                Item::Use(item) => {
                    for (path, name, _) in flatten(&item.tree) {
                        let module = &mut self.0[id];
                        match name {
                            Some(name) => drop(module.names.insert(name, path)),
                            None => module.globs.push(path),
                        }
                    }
                }
                _ => self.0[id].items.extend(defined(item)),
            }
        }
    }

    /// Adds a module that is declared, with its text or without.
    fn declare(&mut self, tree: &Tree, parent: Id, inner: &ItemMod, folder: &str) {
        let name = inner.ident.to_string();
        let name = name.trim_start_matches("r#");
        let file = self.file(parent).to_string();
        let below = format!("{folder}/{name}");
        if let Some((_, items)) = &inner.content {
            return self.add(tree, &file, Some(parent), name, &below, Some(items));
        }
        if let Some(path) = stated_path(&inner.attrs) {
            let beside = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            let path = normal(&format!("{beside}/{path}"));
            let inside = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_string();
            return self.add(tree, &path, Some(parent), name, &inside, None);
        }
        let candidates = [format!("{below}.rs"), format!("{below}/mod.rs")];
        if let Some(file) = candidates.iter().find(|file| tree.rust.contains_key(*file)) {
            self.add(tree, file, Some(parent), name, &below, None);
        }
    }

    /// Returns what a path in a module leads to, or nothing if that is no part of this target.
    pub(super) fn resolve(&self, from: Id, path: &[String]) -> Option<Target> {
        match self.follow(from, path, 0) {
            Led::To(target) => Some(target),
            Led::Elsewhere | Led::Nowhere => None,
        }
    }

    fn follow(&self, from: Id, path: &[String], depth: usize) -> Led {
        let Some((first, mut rest)) = path.split_first().filter(|_| depth < DEPTH_MAX) else {
            return Led::Elsewhere;
        };
        let mut start = from;
        match first.as_str() {
            "crate" => start = 0,
            "self" => {}
            "super" => rest = path,
            // A path that begins with a name: of this module, or of another crate.
            _ => return self.named(from, path, depth),
        }
        while rest.first().is_some_and(|word| word == "super") {
            let Some(parent) = self.0[start].parent else { return Led::Elsewhere };
            (start, rest) = (parent, &rest[1..]);
        }
        self.within(start, rest, depth)
    }

    /// What a path in a module leads to if it is certain that its name is known there.
    fn within(&self, module: Id, path: &[String], depth: usize) -> Led {
        if path.is_empty() {
            return Led::To(Target { module, is_module: true, by_root: false });
        }
        match self.named(module, path, depth) {
            // What a macro makes, for one.
            Led::Nowhere => Led::To(Target { module, is_module: false, by_root: false }),
            led => led,
        }
    }

    /// What a path leads to that begins with a name in a module.
    fn named(&self, module: Id, path: &[String], depth: usize) -> Led {
        let Some((name, rest)) = path.split_first() else { return Led::Nowhere };
        let here = &self.0[module];
        if let Some(child) = here.children.get(name) {
            return self.within(*child, rest, depth);
        }
        if here.items.contains(name) {
            return Led::To(Target { module, is_module: false, by_root: false });
        }
        if let Some(stands_for) = here.names.get(name) {
            // `use name;` names a crate.
            if stands_for.len() == 1 && stands_for[0] == *name {
                return Led::Elsewhere;
            }
            return match self.follow(module, stands_for, depth + 1) {
                Led::To(target) if target.is_module => {
                    self.within(target.module, rest, depth + 1).by_way_of(module)
                }
                Led::To(target) => Led::To(target).by_way_of(module),
                Led::Elsewhere | Led::Nowhere => Led::Elsewhere,
            };
        }
        let by_glob = here.globs.iter().find_map(|glob| {
            let Led::To(source) = self.follow(module, glob, depth + 1) else { return None };
            match self.named(source.module, path, depth + 1) {
                Led::To(target) if source.is_module => Some(Led::To(target).by_way_of(module)),
                _ => None,
            }
        });
        by_glob.unwrap_or(Led::Nowhere)
    }
}

/// Where a path leads.
enum Led {
    To(Target),
    /// Into another crate.
    Elsewhere,
    /// The name is not known in the module.
    Nowhere,
}

impl Led {
    /// The same, by an import in a module.
    fn by_way_of(self, module: Id) -> Self {
        match self {
            Self::To(target) => {
                Self::To(Target { by_root: target.by_root || module == 0, ..target })
            }
            other => other,
        }
    }
}

/// The names that an item brings into its module.
fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// The paths of a `use`, each with the name that it gets (none: all names) and its line.
pub(super) fn flatten(tree: &UseTree) -> Vec<(Vec<String>, Option<String>, usize)> {
    match tree {
        UseTree::Path(path) => {
            let mut inner = flatten(&path.tree);
            for (segments, name, _) in &mut inner {
                let word = path.ident.to_string();
                if segments.len() == 1 && segments[0] == "self" {
                    // `use a::{self, b}` names `a`.
                    *name =
                        name.take().map(|name| if name == "self" { word.clone() } else { name });
                    segments.clear();
                }
                segments.insert(0, word);
            }
            inner
        }
        UseTree::Name(name) => {
            let word = name.ident.to_string();
            vec![(vec![word.clone()], Some(word), name.ident.span().start().line)]
        }
        UseTree::Rename(rename) => {
            let line = rename.ident.span().start().line;
            vec![(vec![rename.ident.to_string()], Some(rename.rename.to_string()), line)]
        }
        UseTree::Glob(glob) => vec![(Vec::new(), None, glob.star_token.span.start().line)],
        UseTree::Group(group) => group.items.iter().flat_map(flatten).collect(),
    }
}

/// What `#[path = "…"]` says.
fn stated_path(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let Meta::NameValue(meta) = &attribute.meta else { return None };
        let Expr::Lit(value) = &meta.value else { return None };
        match &value.lit {
            Lit::Str(text) if meta.path.is_ident("path") => Some(text.value()),
            _ => None,
        }
    })
}

/// A path without `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
