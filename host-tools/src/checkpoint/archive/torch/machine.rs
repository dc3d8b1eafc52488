//! The stack machine that a pickle is a program of: every opcode of CPython's `Lib/pickletools.py`, protocols
//! 0 to 5.
use super::pickle::{Broken, Id, Object, Pickle, Value};
use std::collections::HashMap;
use std::io::Read;

/// More values than any checkpoint has: a large one has a few thousand tensors, each some 20 values.
const MAX_VALUES: usize = 1 << 23;
/// Items of all lists and dicts: a few bytes of a file add a value that is there already.
const MAX_ITEMS: usize = 1 << 25;
/// Bytes that are kept of a string.
const MAX_TEXT: u64 = 1 << 12;
/// Bytes of all strings that are kept.
const MAX_TEXTS: usize = 1 << 27;
/// Longest name of a module or class, and longest number in digits, in bytes.
const MAX_NAME: usize = 1024;
/// Names of classes that are made of strings, in bytes in all: a few bytes of a file make one more of any
/// string.
const MAX_NAMES: usize = 1 << 26;

pub(super) struct Machine<'a, R> {
    source: &'a mut R,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes of the classes' names that were made of strings.
    names: usize,
    /// Bytes of the strings that were kept.
    texts: usize,
    /// Items of lists and dicts.
    items: usize,
}

impl<'a, R: Read> Machine<'a, R> {
    pub fn new(source: &'a mut R) -> Self {
        Self {
            source,
            values: vec![],
            stack: vec![],
            marks: vec![],
            memo: HashMap::new(),
            names: 0,
            texts: 0,
            items: 0,
        }
    }

    pub fn run(mut self) -> Result<Pickle, Broken> {
        while self.step()? {}
        let root = self.pop()?;
        Ok(Pickle { values: self.values, root })
    }

    /// Executes one opcode; false at the end mark.
    fn step(&mut self) -> Result<bool, Broken> {
        let opcode = self.byte()?;
        match opcode {
            b'.' => return Ok(false),
            0x80 => drop(self.byte()?),       // protocol
            0x95 => drop(self.bytes::<8>()?), // frame
            b'N' => self.push(Value::Other)?,
            0x88 | 0x89 => self.push(Value::Bool(opcode == 0x88))?,
            b'G' => {
                let number = f64::from_be_bytes(self.bytes()?);
                self.push(Value::Float(number))?;
            }
            b'K' | b'M' | b'J' | 0x8a | 0x8b => self.integer(opcode)?,
            b'I' | b'L' | b'F' | b'S' | b'V' => self.written_out(opcode)?,
            b'X' | b'T' | b'U' | 0x8c | 0x8d => self.text(opcode)?,
            b'B' | b'C' | 0x8e | 0x96 => self.skip_bytes(opcode)?,
            0x82..=0x84 => {
                // A class by a number that a program registered.
                self.skip([1, 2, 4][usize::from(opcode - 0x82)])?;
                self.push(Value::Other)?;
            }
            b'c' | 0x93 => self.global(opcode)?,
            b']' | b')' | 0x8f => self.push(Value::Sequence(vec![]))?,
            b'}' => self.push(Value::Dict(vec![]))?,
            b'(' => self.mark()?,
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.grow(items.len())?;
                self.push(Value::Sequence(items))?;
            }
            0x85..=0x87 => {
                let at = self.stack.len().checked_sub(usize::from(opcode - 0x84)).ok_or("empty stack")?;
                let items = self.stack.split_off(at);
                self.push(Value::Sequence(items))?;
            }
            b'a' | b'e' | 0x90 => self.append(opcode != b'a')?,
            b'd' | b's' | b'u' => self.set_items(opcode)?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            b'P' => {
                let name = self.line()?;
                self.push(Value::Text(name))?;
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            b'R' | 0x81 | 0x92 | b'i' | b'o' => self.call(opcode)?,
            b'b' => self.build()?,
            b'q' | b'r' | b'p' | 0x94 => self.put(opcode)?,
            b'h' | b'j' | b'g' => self.get(opcode)?,
            b'0' => self.pop_any()?,
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let id = *self.stack.last().ok_or("empty stack")?;
                self.push_id(id)?;
            }
            0x97 | 0x98 => return Err("its data lie in buffers outside of the file".into()),
            _ => return Err(format!("{opcode:#04x} is no opcode of pickle").into()),
        }
        Ok(true)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(|_| Broken::Cut)?;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn skip(&mut self, count: u64) -> Result<(), Broken> {
        let skipped = std::io::copy(&mut self.source.take(count), &mut std::io::sink());
        if skipped.is_ok_and(|skipped| skipped == count) {
            Ok(())
        } else {
            Err(Broken::Cut)
        }
    }

    /// Up to `count` bytes into memory that grows only as they come.
    fn take(&mut self, count: u64) -> Result<Vec<u8>, Broken> {
        let mut bytes = vec![];
        self.source.take(count).read_to_end(&mut bytes).map_err(|_| Broken::Cut)?;
        if bytes.len() as u64 == count {
            Ok(bytes)
        } else {
            Err(Broken::Cut)
        }
    }

    fn push(&mut self, value: Value) -> Result<(), Broken> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values").into());
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn push_id(&mut self, id: Id) -> Result<(), Broken> {
        if self.stack.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values").into());
        }
        self.stack.push(id);
        Ok(())
    }

    /// Accounts for items of a list or dict.
    fn grow(&mut self, count: usize) -> Result<(), Broken> {
        self.items = self.items.saturating_add(count);
        if self.items > MAX_ITEMS {
            return Err("lists without end".into());
        }
        Ok(())
    }

    fn mark(&mut self) -> Result<(), Broken> {
        if self.marks.len() >= MAX_VALUES {
            return Err("marks without end".into());
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Takes the top value, which must lie above the last mark.
    fn pop(&mut self) -> Result<Id, Broken> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("empty stack".into());
        }
        self.stack.pop().ok_or_else(|| "empty stack".into())
    }

    /// Drops the top value, or the mark if that is on top.
    fn pop_any(&mut self) -> Result<(), Broken> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn top(&mut self) -> Result<&mut Value, Broken> {
        let id = *self.stack.last().ok_or("empty stack")?;
        self.values.get_mut(id).ok_or_else(|| "no such value".into())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Broken> {
        let mark = self.marks.pop().ok_or("no mark")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn integer(&mut self, opcode: u8) -> Result<(), Broken> {
        let value = match opcode {
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.bytes()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.bytes()?).into()),
            0x8a => {
                let length = self.byte()?.into();
                long(self.take(length)?)
            }
            _ => match u32::from_le_bytes(self.bytes()?).into() {
                length if length <= MAX_TEXT => long(self.take(length)?),
                length => {
                    self.skip(length)?;
                    Value::Other
                }
            },
        };
        self.push(value)
    }

    /// Numbers and strings as protocol 0 writes them.
    fn written_out(&mut self, opcode: u8) -> Result<(), Broken> {
        let line = self.line()?;
        let value = match opcode {
            b'I' if line == "01" || line == "00" => Value::Bool(line == "01"),
            b'I' | b'L' => decimal(line.strip_suffix('L').unwrap_or(&line))?,
            b'F' => Value::Float(line.parse().map_err(|_| format!("`{line:.20}` is no number"))?),
            _ => Value::Text(line.trim_matches(['\'', '"']).to_string()),
        };
        if let Value::Text(text) = &value {
            self.keep(text.len())?;
        }
        self.push(value)
    }

    fn keep(&mut self, length: usize) -> Result<(), Broken> {
        self.texts = self.texts.saturating_add(length);
        if self.texts > MAX_TEXTS {
            return Err(format!("more than {MAX_TEXTS} bytes of strings").into());
        }
        Ok(())
    }

    fn length(&mut self, opcode: u8) -> Result<u64, Broken> {
        Ok(match opcode {
            b'U' | b'C' | 0x8c => self.byte()?.into(),
            0x8d | 0x8e | 0x96 => u64::from_le_bytes(self.bytes()?),
            _ => u32::from_le_bytes(self.bytes()?).into(),
        })
    }

    /// A string; of a long one, which is no name of anything, the beginning.
    fn text(&mut self, opcode: u8) -> Result<(), Broken> {
        let length = self.length(opcode)?;
        let bytes = self.take(length.min(MAX_TEXT))?;
        self.skip(length.saturating_sub(MAX_TEXT))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.keep(text.len())?;
        self.push(Value::Text(text))
    }

    fn skip_bytes(&mut self, opcode: u8) -> Result<(), Broken> {
        let length = self.length(opcode)?;
        self.skip(length)?;
        self.push(Value::Other)
    }

    fn line(&mut self) -> Result<String, Broken> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                byte if line.len() < MAX_NAME => line.push(byte),
                _ => return Err(format!("a line of more than {MAX_NAME} bytes").into()),
            }
        }
        // Protocol 0 writes Latin-1.
        Ok(String::from_utf8(line)
            .unwrap_or_else(|e| e.as_bytes().iter().map(|byte| char::from(*byte)).collect()))
    }

    fn global(&mut self, opcode: u8) -> Result<(), Broken> {
        if opcode == b'c' {
            let (module, name) = (self.line()?, self.line()?);
            return self.push_global(module, name);
        }
        let (name, module) = (self.pop()?, self.pop()?);
        match (self.values.get(module), self.values.get(name)) {
            (Some(Value::Text(module)), Some(Value::Text(name))) => {
                if module.len().max(name.len()) > MAX_NAME {
                    return Err("names of classes without end".into());
                }
                let (module, name) = (module.clone(), name.clone());
                self.push_global(module, name)
            }
            _ => Err("a class without a name".into()),
        }
    }

    fn push_global(&mut self, module: String, name: String) -> Result<(), Broken> {
        self.names += module.len() + name.len();
        if self.names > MAX_NAMES {
            return Err("names of classes without end".into());
        }
        self.push(Value::Global(Box::new((module, name))))
    }

    fn append(&mut self, many: bool) -> Result<(), Broken> {
        let items = if many { self.pop_to_mark()? } else { vec![self.pop()?] };
        self.grow(items.len())?;
        // Objects of other classes may be filled like lists; none of them is a tensor.
        if let Value::Sequence(list) = self.top()? {
            list.extend(items);
        }
        Ok(())
    }

    fn set_items(&mut self, opcode: u8) -> Result<(), Broken> {
        let items = if opcode == b's' {
            let (value, key) = (self.pop()?, self.pop()?);
            vec![key, value]
        } else {
            self.pop_to_mark()?
        };
        if opcode == b'd' {
            self.push(Value::Dict(vec![]))?;
        }
        self.grow(items.len())?;
        let pairs = items.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value));
        match self.top()? {
            Value::Dict(dict) => dict.extend(pairs),
            Value::Object(object) => object.items.extend(pairs),
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, opcode: u8) -> Result<(), Broken> {
        let (callable, arguments) = match opcode {
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let arguments = self.pop_to_mark()?;
                self.push(Value::Sequence(arguments))?;
                let arguments = self.pop()?;
                self.push_global(module, name)?;
                (self.pop()?, arguments)
            }
            b'o' => {
                let mut items = self.pop_to_mark()?;
                if items.is_empty() {
                    return Err("an object without a class".into());
                }
                let callable = items.remove(0);
                self.push(Value::Sequence(items))?;
                (callable, self.pop()?)
            }
            0x92 => {
                let (_keywords, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                (callable, arguments)
            }
            _ => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                (callable, arguments)
            }
        };
        let is_dict = matches!(
            self.values.get(callable),
            Some(Value::Global(names)) if names.0 == "collections"
                && ["OrderedDict", "defaultdict", "Counter"].contains(&names.1.as_str())
        );
        if is_dict {
            let items = self.first_items(arguments);
            self.grow(2 * items.len())?;
            return self.push(Value::Dict(items));
        }
        self.push(Value::Object(Box::new(Object { callable, arguments, state: None, items: vec![] })))
    }

    /// What a dict is made of at once: Python 2 gives a list of pairs, counters a dict.
    fn first_items(&self, arguments: Id) -> Vec<(Id, Id)> {
        let value = |id: Id| self.values.get(id);
        let Some(Value::Sequence(arguments)) = value(arguments) else { return vec![] };
        match arguments.first().and_then(|id| value(*id)) {
            Some(Value::Dict(items)) => items.clone(),
            Some(Value::Sequence(pairs)) => {
                let pairs = pairs.iter().map(|pair| match value(*pair) {
                    Some(Value::Sequence(pair)) => <[Id; 2]>::try_from(pair.as_slice()).ok(),
                    _ => None,
                });
                pairs.flatten().map(|[key, value]| (key, value)).collect()
            }
            _ => vec![],
        }
    }

    /// Gives an object its attributes. Those of dicts (torch puts the versions of modules there) say nothing
    /// of tensors.
    fn build(&mut self) -> Result<(), Broken> {
        let state = self.pop()?;
        if let Value::Object(object) = self.top()? {
            object.state = Some(state);
        }
        Ok(())
    }

    fn memo_key(&mut self, opcode: u8) -> Result<u64, Broken> {
        Ok(match opcode {
            b'q' | b'h' => self.byte()?.into(),
            b'r' | b'j' => u32::from_le_bytes(self.bytes()?).into(),
            b'p' | b'g' => {
                let line = self.line()?;
                line.parse().map_err(|_| format!("`{line:.20}` is no place in the memo"))?
            }
            _ => self.memo.len() as u64,
        })
    }

    fn put(&mut self, opcode: u8) -> Result<(), Broken> {
        let key = self.memo_key(opcode)?;
        let id = *self.stack.last().ok_or("empty stack")?;
        if self.memo.len() >= MAX_VALUES {
            return Err("a memo without end".into());
        }
        self.memo.insert(key, id);
        Ok(())
    }

    fn get(&mut self, opcode: u8) -> Result<(), Broken> {
        let key = self.memo_key(opcode)?;
        let id = *self.memo.get(&key).ok_or_else(|| format!("nothing in the memo at {key}"))?;
        self.push_id(id)
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

/// An integer in digits; one beyond 128 bits is nothing that a tensor's description needs.
fn decimal(digits: &str) -> Result<Value, Broken> {
    if let Ok(number) = digits.parse::<i64>() {
        return Ok(Value::Int(number));
    }
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{digits:.20}` is no number").into());
    }
    Ok(digits.parse::<i128>().map_or(Value::Other, |number| {
        let mut bytes = number.to_le_bytes().to_vec();
        // As short as two's complement allows, as binary protocols write it.
        let fill = if number < 0 { 0xFF } else { 0 };
        while let [.., before, last] = bytes[..] {
            if last != fill || (before ^ fill) & 0x80 != 0 {
                break;
            }
            bytes.pop();
        }
        Value::Long(bytes)
    }))
}

impl Pickle {
    /// Reads one pickle up to its end mark.
    pub fn read(source: &mut impl Read) -> Result<Self, Broken> {
        Machine::new(source).run()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_length_are_read() {
        assert_eq!(long(vec![0xff]), Value::Int(-1));
        assert_eq!(long(vec![]), Value::Int(0));
        assert_eq!(decimal("-12").unwrap(), Value::Int(-12));
        assert_eq!(decimal("18446744073709551615").unwrap(), Value::Long([&[0xff; 8][..], &[0]].concat()));
        assert_eq!(decimal("-18446744073709551616").unwrap(), Value::Long([&[0; 8][..], &[0xff]].concat()));
        assert!(decimal("1e5").is_err());
    }
}
