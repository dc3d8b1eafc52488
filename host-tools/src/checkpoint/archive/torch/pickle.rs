//! What Python's pickle format holds, read as data: no class is looked up and nothing is called.
//!
//! Values lie in one list and refer to each other by index, so that a hostile file can neither nest so deeply
//! that the stack overflows nor multiply itself by its memo. [`machine`](super::machine) makes them.

/// Index of a value in [`Pickle::values`].
pub(super) type Id = usize;

/// What an opcode makes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// None, bytes and all else that neither describes a tensor nor says something about a model.
    Other,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, little-endian.
    Long(Vec<u8>),
    Float(f64),
    /// Long ones are cut.
    Text(String),
    /// A class or function by module and name.
    Global(Box<(String, String)>),
    /// A tuple, a list or a set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// What the file keeps outside of the pickle.
    Persistent(Id),
    /// What Python would make by a call.
    Object(Box<Object>),
}

/// An object of any class.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    /// The class or function that Python would call.
    pub callable: Id,
    pub arguments: Id,
    /// The attributes, mostly a dict.
    pub state: Option<Id>,
    /// Of an object that is filled like a dict.
    pub items: Vec<(Id, Id)>,
}

/// Why a pickle cannot be read.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ends too early.
    Cut,
    Wrong(String),
}

impl From<String> for Broken {
    fn from(reason: String) -> Self {
        Self::Wrong(reason)
    }
}

impl From<&str> for Broken {
    fn from(reason: &str) -> Self {
        Self::Wrong(reason.into())
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Cut => f.write_str("the pickle breaks off"),
            Self::Wrong(reason) => f.write_str(reason),
        }
    }
}

/// A pickle's values.
pub(super) struct Pickle {
    pub values: Vec<Value>,
    /// The value that the pickle stands for.
    pub root: Id,
}

impl Pickle {
    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Other)
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a dict, also of an object of a class that is made from dict.
    pub fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(items) => Some(items),
            Value::Object(object) if !object.items.is_empty() => Some(&object.items),
            _ => None,
        }
    }

    /// The value of a dict's key.
    pub fn item(&self, items: &[(Id, Id)], wanted: &str) -> Option<Id> {
        items.iter().find(|(key, _)| self.text(*key) == Some(wanted)).map(|(_, value)| *value)
    }

    /// Attributes of an object: its state is a dict, or a pair of one and the slots.
    pub fn attributes(&self, id: Id) -> Option<&[(Id, Id)]> {
        let Value::Object(object) = self.get(id) else { return None };
        let state = object.state?;
        let first = self.sequence(state).and_then(|pair| pair.first().copied());
        self.dict(first.unwrap_or(state))
    }

    pub fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.sequence(id)?.iter().map(|item| self.size(*item)).collect()
    }

    pub fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Global(names) => Some((&names.0, &names.1)),
            _ => None,
        }
    }

    /// Module, name and arguments of a call.
    pub fn call(&self, id: Id) -> Option<(&str, &str, &[Id])> {
        let Value::Object(object) = self.get(id) else { return None };
        let (module, name) = self.global(object.callable)?;
        Some((module, name, self.sequence(object.arguments)?))
    }

    /// Module and name of an object's class.
    pub fn class(&self, id: Id) -> Option<(&str, &str)> {
        let (module, name, arguments) = self.call(id)?;
        // Objects of protocols 0 and 1 are made by a function that takes the class.
        match (name, arguments) {
            ("_reconstructor", [class, ..]) => self.global(*class),
            _ => Some((module, name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Pickle, String> {
        Pickle::read(&mut &bytes[..]).map_err(|e| e.to_string())
    }

    #[test]
    fn containers_numbers_and_names_are_read() {
        // pickle.dumps({"a": [1, 300, -2], "b": (70000,)}, protocol=2)
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(\
            K\x01M,\x01J\xfe\xff\xff\xffeX\x01\x00\x00\x00bq\x03Jp\x11\x01\x00\x85q\x04u.";
        let pickle = read(bytes).unwrap();
        let items = pickle.dict(pickle.root).unwrap();
        assert_eq!(items.iter().map(|(key, _)| pickle.text(*key).unwrap()).collect::<Vec<_>>(), ["a", "b"]);
        let numbers = pickle.sequence(items[0].1).unwrap();
        assert_eq!(
            numbers.iter().map(|id| pickle.get(*id).clone()).collect::<Vec<_>>(),
            [1, 300, -2].map(Value::Int)
        );
        assert_eq!(pickle.sizes(items[1].1).unwrap(), [70000]);
        assert_eq!(pickle.sizes(items[0].1), None);
    }

    #[test]
    fn every_protocol_gives_the_same_values() {
        // pickle.dumps({"k": [3, -4.5, True], "big": 1 << 70, "é": {7}}, protocol=p), with a frame from 4 on.
        let big = [&[0; 8][..], &[0x40]].concat();
        let texts = [
            b"(dp0\nVk\np1\n(lp2\nI3\naF-4.5\naI01\nasVbig\np3\n\
              L1180591620717411303424L\nsV\xe9\np4\nc__builtin__\nset\np5\n((lp6\nI7\natp7\nRp8\ns."
                .to_vec(),
            [
                &b"\x80\x05\x95\x30\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01k\x94]\x94(\
                  K\x03G\xc0\x12\x00\x00\x00\x00\x00\x00\x88e\x8c\x03big\x94\x8a\x09"[..],
                &big,
                b"\x8c\x02\xc3\xa9\x94\x8f\x94(K\x07\x90u.",
            ]
            .concat(),
        ];
        for bytes in texts {
            let pickle = read(&bytes).unwrap();
            let items = pickle.dict(pickle.root).unwrap();
            let list = pickle.sequence(pickle.item(items, "k").unwrap()).unwrap();
            let list: Vec<_> = list.iter().map(|id| pickle.get(*id).clone()).collect();
            assert_eq!(list, [Value::Int(3), Value::Float(-4.5), Value::Bool(true)]);
            assert_eq!(*pickle.get(pickle.item(items, "big").unwrap()), Value::Long(big.clone()));
            assert!(pickle.item(items, "é").is_some());
        }
    }

    #[test]
    fn objects_keep_class_attributes_and_items() {
        // argparse.Namespace(model="vit") by protocol 2, and by protocol 1, which goes through copyreg.
        let new = read(b"\x80\x02cargparse\nNamespace\n)\x81}U\x05modelU\x03vitsb.").unwrap();
        let old = b"ccopy_reg\n_reconstructor\n(cargparse\nNamespace\nc__builtin__\nobject\nNtR}\
            U\x05modelU\x03vitsb.";
        let old = read(old).unwrap();
        for pickle in [new, old] {
            assert_eq!(pickle.class(pickle.root), Some(("argparse", "Namespace")));
            let attributes = pickle.attributes(pickle.root).unwrap();
            assert_eq!(pickle.text(pickle.item(attributes, "model").unwrap()), Some("vit"));
        }
        // A class made from dict, with keyword arguments; and Python 2's OrderedDict, which takes a list of
        // pairs.
        let mapping = read(b"\x80\x04\x8c\x01m\x8c\x01D\x93)}\x92(\x8c\x01aK\x01u.").unwrap();
        let ordered = read(b"\x80\x02ccollections\nOrderedDict\n]U\x01aK\x01\x86a\x85R.");
        assert_eq!(mapping.dict(mapping.root).unwrap().len(), 1);
        let ordered = ordered.unwrap();
        assert!(ordered.dict(ordered.root).is_some());
    }

    #[test]
    fn data_that_no_tensor_needs_is_passed_over() {
        // Bytes of all kinds, a string of 70,000, an array of bytes, popped and doubled values.
        let mut bytes =
            b"\x80\x05(C\x01aB\x01\0\0\0a\x8e\x01\0\0\0\0\0\0\0a\x96\x01\0\0\0\0\0\0\0aX".to_vec();
        bytes.extend(70_000u32.to_le_bytes());
        bytes.extend([b'x'; 70_000]);
        bytes.extend(b"K\x070K\x082(K\x091\x8b\x02\0\0\0\x01\x01\x8d\x01\0\0\0\0\0\0\0yt.");
        let pickle = read(&bytes).unwrap();
        let items = pickle.sequence(pickle.root).unwrap();
        let last: Vec<_> = items[5..].iter().map(|id| pickle.get(*id).clone()).collect();
        assert_eq!(last, [Value::Int(8), Value::Int(8), Value::Int(257), Value::Text("y".into())]);
    }

    #[test]
    fn a_call_is_data() {
        // pickle.dumps of an object whose __reduce__ is (os.system, ("true",)): what a malicious file would
        // hold.
        let pickle = read(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.").unwrap();
        let (module, name, arguments) = pickle.call(pickle.root).unwrap();
        assert_eq!((module, name, arguments.len()), ("posix", "system", 1));
    }

    #[test]
    fn hostile_pickles_are_errors() {
        for bytes in [
            &b"\x80\x02"[..],
            b".",
            b"\x85.",
            b"(.",
            b"h\x07.",
            b"X\xff\xff\xff\xffa.",
            b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffa.",
            b"\x8b\xff\xff\xff\x7fa.",
            b"u.",
            b"\x93.",
            b"(Nb.",
            b"i",
            b"o.",
            b"\x97.",
            b"1.",
            b"2.",
            b"I12x\n.",
            b"\xff.",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        // Nested 100,000 deep, and a list that holds itself.
        let mut deep = b"N".to_vec();
        deep.extend([0x85; 100_000]);
        deep.push(b'.');
        assert!(read(&deep).is_ok());
        assert!(read(b"]q\x00h\x00a.").is_ok());
        // A long string as the name of ever more classes.
        let mut names = b"X\x01\x08\x00\x00".to_vec();
        names.extend([b'a'; 2049]);
        names.extend(b"q\x00h\x00\x93.");
        assert!(read(&names).err().unwrap().contains("names of classes"));
    }

    #[test]
    fn few_bytes_do_not_become_much_memory() {
        // An OrderedDict of 10,000 pairs, copied 10,000 times.
        let mut copies = b"\x80\x02ccollections\nOrderedDict\nq\x00](".to_vec();
        copies.extend(b"K\x01K\x02\x86".repeat(10_000));
        copies.extend(b"e\x85q\x01]".iter());
        copies.extend(b"h\x00h\x01R0".repeat(10_000));
        copies.push(b'.');
        assert!(read(&copies).err().unwrap().contains("without end"));
        // Marks and memo entries without a value each.
        assert!(read(&vec![b'('; 9 << 20]).is_err());
        let mut memo = b"N".to_vec();
        memo.extend(vec![0x94; 9 << 20]);
        assert!(read(&memo).is_err());
    }
}
