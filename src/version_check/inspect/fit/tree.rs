//! A device tree with its names, once both of its blocks have passed.

use super::{
    digest::{Hash, Hashed, Hashing},
    tokens::{BEGIN_NODE, DEEPEST, END, END_NODE, Kept, Large, NOTHING, PROPERTY},
};
use std::collections::{BTreeSet, HashMap, hash_map::Entry};

/// The longest name of a property.
const LONGEST_NAME: usize = 255;

/// What was kept of a device tree.
pub(super) struct Blob {
    pub tokens: Kept,
    pub strings: Vec<u8>,
}

/// A token of the structure block.
pub(super) struct Token<'a> {
    pub kind: Kind<'a>,
    /// The bytes of it that were kept: all but a large value.
    pub bytes: &'a [u8],
}

pub(super) enum Kind<'a> {
    Begin(&'a str),
    End,
    Property(&'a str, Value<'a>),
    Nothing,
    Finish,
}

/// The value of a property.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Kept(&'a [u8]),
    Large(&'a Large),
}

/// A device tree. Node 0 is the root.
pub(super) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    /// The nodes by their parent and their name.
    names: HashMap<(usize, &'a str), usize>,
}

/// A node of a device tree.
pub(super) struct Node<'a> {
    pub name: &'a str,
    /// Its place in the order in which the nodes begin.
    pub number: usize,
    /// That of its parent; the root's is the root.
    parent: usize,
    properties: Vec<(&'a str, Value<'a>)>,
    children: Vec<usize>,
}

impl Blob {
    /// The tokens in their order, up to the first that cannot be read.
    pub fn walk(&self) -> impl Iterator<Item = Result<Token<'_>, String>> {
        let mut at = 0;
        let mut large = self.tokens.large.iter().peekable();
        std::iter::from_fn(move || {
            let start = at;
            let bytes = &self.tokens.bytes;
            let kind = match number(bytes, start)? {
                BEGIN_NODE => {
                    let name = bytes.get(start + 4..)?.split(|byte| *byte == 0).next()?;
                    at = (start + 4 + name.len() + 1).next_multiple_of(4);
                    Ok(Kind::Begin(str::from_utf8(name).ok()?))
                }
                END_NODE => {
                    at = start + 4;
                    Ok(Kind::End)
                }
                PROPERTY => {
                    let length = number(bytes, start + 4)?;
                    let name = self.string(number(bytes, start + 8)?);
                    at = start + 12;
                    let value = match large.next_if(|large| large.at == at) {
                        Some(large) => Value::Large(large),
                        None => {
                            let value = bytes.get(at..)?.get(..usize::try_from(length).ok()?)?;
                            at = (at + value.len()).next_multiple_of(4);
                            Value::Kept(value)
                        }
                    };
                    name.map(|name| Kind::Property(name, value))
                }
                NOTHING => {
                    at = start + 4;
                    Ok(Kind::Nothing)
                }
                END => {
                    at = start + 4;
                    Ok(Kind::Finish)
                }
                _ => return None,
            };
            let bytes = bytes.get(start..at)?;
            Some(kind.map(|kind| Token { kind, bytes }))
        })
    }

    /// The name of a property.
    fn string(&self, offset: u32) -> Result<&str, String> {
        let text = usize::try_from(offset).ok().and_then(|offset| self.strings.get(offset..));
        let name = text.and_then(|text| {
            let end = text.iter().take(LONGEST_NAME + 1).position(|byte| *byte == 0)?;
            let name = text.get(..end)?;
            let plain = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
            plain.then(|| str::from_utf8(name).ok()).flatten()
        });
        name.ok_or_else(|| {
            format!(
                "the strings of the device tree have no name of a property at {offset}: the file was damaged"
            )
        })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

impl<'a> Value<'a> {
    /// In bytes.
    pub fn length(self) -> u64 {
        match self {
            Self::Kept(bytes) => bytes.len() as u64,
            Self::Large(large) => large.length,
        }
    }

    /// Its digests.
    pub fn hashed(self, wanted: &BTreeSet<Hash>) -> Hashed {
        match self {
            Self::Kept(bytes) => {
                let mut hashing = Hashing::of(wanted);
                hashing.update(bytes);
                hashing.finish()
            }
            Self::Large(large) => {
                let mut hashed = large.hashed.clone();
                hashed.retain(|hash, _| wanted.contains(hash));
                hashed
            }
        }
    }

    fn kept(self) -> Option<&'a [u8]> {
        match self {
            Self::Kept(bytes) => Some(bytes),
            Self::Large(_) => None,
        }
    }
}

impl<'a> Tree<'a> {
    /// Reads the tree; what can be read of it, and the first thing that is wrong.
    pub fn read(blob: &'a Blob) -> (Self, Option<String>) {
        let mut tree = Self { nodes: Vec::new(), names: HashMap::new() };
        let mut twice = None;
        let mut open: Vec<usize> = Vec::new();
        let mut fault = None;
        for token in blob.walk() {
            let kind = match token {
                Ok(Token { kind, .. }) => kind,
                Err(message) => {
                    fault = fault.or(Some(message));
                    continue;
                }
            };
            match kind {
                Kind::Begin(name) => {
                    let number = tree.nodes.len();
                    let parent = open.last().copied().unwrap_or(0);
                    if let Some(parent) = tree.nodes.get_mut(parent) {
                        parent.children.push(number);
                    }
                    tree.nodes.push(Node {
                        name,
                        number,
                        parent,
                        properties: Vec::new(),
                        children: Vec::new(),
                    });
                    open.push(number);
                    match tree.names.entry((parent, name)) {
                        Entry::Vacant(entry) => {
                            entry.insert(number);
                        }
                        // Readers would not agree on which is meant.
                        Entry::Occupied(_) => twice = twice.or(Some(number)),
                    }
                }
                Kind::End => {
                    open.pop();
                }
                Kind::Property(name, value) => {
                    if let Some(node) = open.last().and_then(|node| tree.nodes.get_mut(*node)) {
                        node.properties.push((name, value));
                    }
                }
                Kind::Nothing | Kind::Finish => {}
            }
        }
        let twice = twice
            .and_then(|number| tree.nodes.get(number))
            .map(|node| format!("the device tree has two nodes {}", tree.path(node)));
        let fault = fault.or(twice).or_else(|| tree.nodes.iter().find_map(|node| tree.property_twice(node)));
        (tree, fault)
    }

    fn property_twice(&self, node: &Node) -> Option<String> {
        let mut names = BTreeSet::new();
        let (name, _) = node.properties.iter().find(|(name, _)| !names.insert(*name))?;
        Some(format!("node {} of the device tree has two properties {name}", self.path(node)))
    }

    /// The root.
    pub fn root(&self) -> Option<&Node<'a>> {
        self.nodes.first()
    }

    /// The nodes in a node.
    pub fn children<'t>(&'t self, node: &'t Node) -> impl Iterator<Item = &'t Node<'a>> {
        node.children.iter().filter_map(|child| self.nodes.get(*child))
    }

    /// The nodes in a node of the root.
    pub fn within<'t>(&'t self, name: &'t str) -> impl Iterator<Item = &'t Node<'a>> {
        let parent = self.child(name);
        parent.into_iter().flat_map(|parent| self.children(parent))
    }

    /// Where a node is, such as `/images/kernel-1`.
    pub fn path(&self, node: &Node) -> String {
        let mut names = vec![node.name];
        let mut parent = node.parent;
        while let Some(node) = self.nodes.get(parent).filter(|node| node.number > 0) {
            names.push(node.name);
            parent = node.parent;
        }
        names.reverse();
        // The root's own name is empty.
        if node.number == 0 { "/".to_owned() } else { format!("/{}", names.join("/")) }
    }

    /// The node at a path.
    pub fn at(&self, path: &str) -> Option<&Node<'a>> {
        let names = path.strip_prefix('/')?.split('/').filter(|name| !name.is_empty());
        let number =
            names.take(DEEPEST + 1).try_fold(0, |parent, name| self.names.get(&(parent, name)).copied());
        self.nodes.get(number?)
    }

    /// A node of the root.
    pub fn child(&self, name: &str) -> Option<&Node<'a>> {
        self.names.get(&(0, name)).and_then(|number| self.nodes.get(*number))
    }
}

impl<'a> Node<'a> {
    /// A property.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.properties.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// The bytes of a property that is not large.
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.get(name)?.kept()
    }

    /// A property as a text: its only one.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let mut texts = self.texts(name);
        texts.next().filter(|_| texts.next().is_none())
    }

    /// A property as a list of texts, each ended by a zero; none if it is no such list.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let list = self.bytes(name).and_then(|bytes| bytes.strip_suffix(&[0])).and_then(|list| {
            let text = str::from_utf8(list).ok()?;
            let printable = |text: &str| !text.is_empty() && !text.contains(char::is_control);
            text.split('\0').all(printable).then_some(text)
        });
        list.into_iter().flat_map(|list| list.split('\0'))
    }

    /// A property as a number of one or two cells.
    pub fn number(&self, name: &str) -> Option<u64> {
        let bytes = self.bytes(name)?;
        match bytes.len() {
            4 => bytes.first_chunk().map(|bytes| u64::from(u32::from_be_bytes(*bytes))),
            8 => bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
            _ => None,
        }
    }
}
