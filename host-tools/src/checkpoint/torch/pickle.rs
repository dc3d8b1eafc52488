//! Python's pickle format, as far as tensors need it, read as data: no class is looked up and nothing is called.
//!
//! Opcodes are those of CPython's `Lib/pickletools.py`, protocols 2 to 4. Values lie in one list and refer to each other by
//! index, so that a hostile file can neither nest so deeply that the stack overflows nor multiply itself by its memo.
use std::collections::HashMap;
use std::io::Read;

/// Index of a value in [`Pickle::values`].
pub(super) type Id = usize;

/// More values than any checkpoint has: a large one has a few thousand tensors, each some 20 values.
const MAX_VALUES: usize = 1 << 23;
/// Longest string, in bytes.
const MAX_TEXT: u64 = 1 << 20;
/// Longest name of a module or class, in bytes.
const MAX_NAME: usize = 1024;
/// Names of classes that are made of strings, in bytes in all: a few bytes of a file make one more of any string.
const MAX_NAMES: usize = 1 << 26;

/// What an opcode makes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// None, True, False, floats: nothing that a tensor's description needs.
    Other,
    Int(i64),
    /// An integer beyond 64 bits, little-endian.
    Long(Vec<u8>),
    Text(String),
    /// A class or function by module and name.
    Global(String, String),
    /// A tuple or a list.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// What the file keeps outside of the pickle.
    Persistent(Id),
    /// A call that Python would make: the callable and its arguments.
    Call(Id, Id),
}

/// A pickle's values.
pub(super) struct Pickle {
    pub values: Vec<Value>,
    /// The value that the pickle stands for.
    pub root: Id,
}

impl Pickle {
    /// Reads one pickle up to its end mark.
    pub fn read(source: &mut impl Read) -> Result<Self, String> {
        let mut machine =
            Machine { source, values: vec![], stack: vec![], marks: vec![], memo: HashMap::new(), names: 0 };
        while machine.step()? {}
        let root = machine.pop()?;
        Ok(Self { values: machine.values, root })
    }

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

    pub fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(items) => Some(items),
            _ => None,
        }
    }

    pub fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.sequence(id)?.iter().map(|item| self.size(*item)).collect()
    }

    /// Module, name and arguments of a call.
    pub fn call(&self, id: Id) -> Option<(&str, &str, &[Id])> {
        let Value::Call(callable, arguments) = self.get(id) else { return None };
        let Value::Global(module, name) = self.get(*callable) else { return None };
        Some((module, name, self.sequence(*arguments)?))
    }
}

/// The stack machine that a pickle is a program of.
struct Machine<'a, R> {
    source: &'a mut R,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes of the classes' names that were made of strings.
    names: usize,
}

impl<R: Read> Machine<'_, R> {
    /// Executes one opcode; false at the end mark.
    fn step(&mut self) -> Result<bool, String> {
        let opcode = self.byte()?;
        match opcode {
            b'.' => return Ok(false),
            0x80 => drop(self.byte()?),       // protocol
            0x95 => drop(self.bytes::<8>()?), // frame
            b'N' | 0x88 | 0x89 => self.push(Value::Other)?,
            b'G' => {
                self.bytes::<8>()?;
                self.push(Value::Other)?;
            }
            b'K' | b'M' | b'J' | 0x8a => self.integer(opcode)?,
            b'X' | b'T' | b'U' | 0x8c => self.text(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b']' | b')' => self.push(Value::Sequence(vec![]))?,
            b'}' => self.push(Value::Dict(vec![]))?,
            b'(' => self.marks.push(self.stack.len()),
            b't' | b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Sequence(items))?;
            }
            0x85..=0x87 => {
                let at = self.stack.len().checked_sub(usize::from(opcode - 0x84)).ok_or("empty stack")?;
                let items = self.stack.split_off(at);
                self.push(Value::Sequence(items))?;
            }
            b'a' | b'e' => self.append(opcode == b'e')?,
            b'd' | b's' | b'u' => self.set_items(opcode)?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            b'R' | 0x81 => self.call()?,
            b'b' => drop(self.pop()?), // an object's state plays no role: tensors have none
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(opcode)?,
            _ => return Err(format!("opcode {opcode:#04x} is no part of a dict of tensors")),
        }
        Ok(true)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(|e| format!("the pickle breaks off: {e}"))?;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// Takes the top value, which must lie above the last mark.
    fn pop(&mut self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("empty stack".into());
        }
        self.stack.pop().ok_or_else(|| "empty stack".into())
    }

    fn top(&mut self) -> Result<&mut Value, String> {
        let id = *self.stack.last().ok_or("empty stack")?;
        self.values.get_mut(id).ok_or_else(|| "no such value".into())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("no mark")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn integer(&mut self, opcode: u8) -> Result<(), String> {
        let value = match opcode {
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.bytes()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.bytes()?).into()),
            _ => {
                let mut bytes = vec![0; self.byte()?.into()];
                self.source.read_exact(&mut bytes).map_err(|e| format!("the pickle breaks off: {e}"))?;
                long(bytes)
            }
        };
        self.push(value)
    }

    fn text(&mut self, opcode: u8) -> Result<(), String> {
        let length: u64 = match opcode {
            b'U' | 0x8c => self.byte()?.into(),
            _ => u32::from_le_bytes(self.bytes()?).into(),
        };
        if length > MAX_TEXT {
            return Err(format!("a string of {length} bytes"));
        }
        let mut bytes = vec![0; length as usize];
        self.source.read_exact(&mut bytes).map_err(|e| format!("the pickle breaks off: {e}"))?;
        self.push(Value::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                byte if line.len() < MAX_NAME => line.push(byte),
                _ => return Err(format!("a name of more than {MAX_NAME} bytes")),
            }
        }
    }

    fn global(&mut self, opcode: u8) -> Result<(), String> {
        if opcode == b'c' {
            let (module, name) = (self.line()?, self.line()?);
            return self.push(Value::Global(module, name));
        }
        let (name, module) = (self.pop()?, self.pop()?);
        match (self.values.get(module), self.values.get(name)) {
            (Some(Value::Text(module)), Some(Value::Text(name))) => {
                self.names += module.len() + name.len();
                if module.len().max(name.len()) > MAX_NAME || self.names > MAX_NAMES {
                    return Err("names of classes without end".into());
                }
                let global = Value::Global(module.clone(), name.clone());
                self.push(global)
            }
            _ => Err("a class without a name".into()),
        }
    }

    fn append(&mut self, many: bool) -> Result<(), String> {
        let items = if many { self.pop_to_mark()? } else { vec![self.pop()?] };
        // Objects of other classes may be filled like lists; none of them is a tensor.
        if let Value::Sequence(list) = self.top()? {
            list.extend(items);
        }
        Ok(())
    }

    fn set_items(&mut self, opcode: u8) -> Result<(), String> {
        let items = if opcode == b's' {
            let (value, key) = (self.pop()?, self.pop()?);
            vec![key, value]
        } else {
            self.pop_to_mark()?
        };
        if opcode == b'd' {
            self.push(Value::Dict(vec![]))?;
        }
        if let Value::Dict(dict) = self.top()? {
            dict.extend(items.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)));
        }
        Ok(())
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let is_dict = matches!(
            self.values.get(callable),
            Some(Value::Global(module, name))
                if module == "collections" && (name == "OrderedDict" || name == "defaultdict")
        );
        self.push(if is_dict { Value::Dict(vec![]) } else { Value::Call(callable, arguments) })
    }

    fn memo(&mut self, opcode: u8) -> Result<(), String> {
        let key = match opcode {
            b'q' | b'h' => self.byte()?.into(),
            b'r' | b'j' => u32::from_le_bytes(self.bytes()?).into(),
            _ => self.memo.len() as u64,
        };
        if matches!(opcode, b'h' | b'j') {
            let id = *self.memo.get(&key).ok_or_else(|| format!("nothing in the memo at {key}"))?;
            if self.stack.len() >= MAX_VALUES {
                return Err(format!("more than {MAX_VALUES} values"));
            }
            self.stack.push(id);
        } else {
            let id = *self.stack.last().ok_or("empty stack")?;
            self.memo.insert(key, id);
        }
        Ok(())
    }
}

/// A little-endian integer in two's complement of any length.
fn long(bytes: Vec<u8>) -> Value {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xFF } else { 0 };
    let mut all = [sign; 8];
    all[..bytes.len()].copy_from_slice(&bytes);
    Value::Int(i64::from_le_bytes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Pickle, String> {
        Pickle::read(&mut &bytes[..])
    }

    #[test]
    fn containers_numbers_and_names_are_read() {
        // pickle.dumps({"a": [1, 300, -2], "b": (70000,)}, protocol=2)
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01M,\x01J\xfe\xff\xff\xffeX\x01\x00\x00\x00bq\x03Jp\x11\x01\x00\x85q\x04u.";
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
    fn a_call_is_data() {
        // pickle.dumps of an object whose __reduce__ is (os.system, ("true",)): what a malicious file would hold.
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
            b"N(0.",
            b"h\x07.",
            b"X\xff\xff\xff\xffa.",
            b"u.",
            b"\x93.",
            b"(Nb.",
            b"i",
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
        assert_eq!(long(vec![0xff]), Value::Int(-1));
        assert_eq!(long(vec![]), Value::Int(0));
    }
}
