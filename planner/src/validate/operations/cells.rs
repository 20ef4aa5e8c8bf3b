//! The cells of a profiler's table: Python's tuples of shapes and of type names.
//!
//! ```text
//! ((768, 3072), (3072, 3072), (), (768, 3072))     a tensor has whole numbers; () is a scalar; a tuple of tuples a list
//! ('c10::BFloat16', 'c10::BFloat16', 'Scalar', '')
//! ```

/// One argument of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// A tensor of these sides, and what its values are called.
    Tensor(Vec<u64>, String),
    /// Anything else.
    Scalar,
}

/// Deeper tuples than any table's.
const DEEPEST: usize = 8;
/// More arguments than any operation has.
const MOST: usize = 1024;

enum Value {
    Number(u64),
    Text(String),
    Tuple(Vec<Value>),
}

struct Reader<'a> {
    rest: &'a str,
    read: usize,
}

impl Reader<'_> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, sign: char) -> bool {
        self.blank();
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.read += 1;
        if depth > DEEPEST || self.read > MOST {
            return None;
        }
        for (open, close) in [('(', ')'), ('[', ']')] {
            if self.take(open) {
                return self.tuple(close, depth);
            }
        }
        for quote in ['\'', '"'] {
            if self.take(quote) {
                let (text, rest) = self.rest.split_once(quote)?;
                self.rest = rest;
                return Some(Value::Text(text.to_owned()));
            }
        }
        let end = self.rest.find(|c: char| !c.is_ascii_digit());
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        digits.parse().ok().map(Value::Number)
    }

    fn tuple(&mut self, close: char, depth: usize) -> Option<Value> {
        let mut values = Vec::new();
        while !self.take(close) {
            values.push(self.value(depth + 1)?);
            if !self.take(',') {
                return self.take(close).then_some(Value::Tuple(values));
            }
        }
        Some(Value::Tuple(values))
    }
}

/// The values of a cell that is one tuple.
fn tuple(cell: &str) -> Option<Vec<Value>> {
    let mut reader = Reader {
        rest: cell,
        read: 0,
    };
    let value = reader.value(0)?;
    reader.blank();
    match value {
        Value::Tuple(values) if reader.rest.is_empty() => Some(values),
        _ => None,
    }
}

/// The arguments of an operation; `None` where a cell is no such tuple.
pub(super) fn arguments(dims: &str, types: &str) -> Option<Vec<Argument>> {
    let dims = tuple(dims)?;
    let names = tuple(types)?.into_iter().map(|value| match value {
        Value::Text(name) => name,
        Value::Number(_) | Value::Tuple(_) => String::new(),
    });
    let names = names.chain(std::iter::repeat(String::new()));
    let mut arguments = Vec::new();
    for (value, name) in dims.into_iter().zip(names) {
        let Value::Tuple(values) = value else {
            arguments.push(Argument::Scalar);
            continue;
        };
        let parts: Vec<Vec<u64>> = values.iter().filter_map(sides).collect();
        if let Some(whole) = sides(&Value::Tuple(values)) {
            arguments.push(Argument::Tensor(whole, name));
        } else if parts.is_empty() {
            arguments.push(Argument::Scalar);
        } else {
            let part = |sides| Argument::Tensor(sides, name.clone());
            arguments.extend(parts.into_iter().map(part));
        }
    }
    Some(arguments)
}

/// The sides of a tensor: a tuple of at least one number.
fn sides(value: &Value) -> Option<Vec<u64>> {
    let Value::Tuple(values) = value else {
        return None;
    };
    let numbers = values.iter().map(|value| match value {
        Value::Number(number) => Some(*number),
        Value::Text(_) | Value::Tuple(_) => None,
    });
    let sides: Vec<u64> = numbers.collect::<Option<_>>()?;
    (!sides.is_empty()).then_some(sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(sides: &[u64], name: &str) -> Argument {
        Argument::Tensor(sides.to_vec(), name.to_owned())
    }

    #[test]
    fn shapes_scalars_and_lists_are_told_apart() {
        let found = arguments("((768, 64), (), ((2,), (3,)), 5)", "('a', 'Scalar', 'b')");
        let wanted = [
            tensor(&[768, 64], "a"),
            Argument::Scalar,
            tensor(&[2], "b"),
            tensor(&[3], "b"),
            Argument::Scalar,
        ];
        assert_eq!(found, Some(wanted.to_vec()));
        assert_eq!(arguments("((1,),)", "()"), Some(vec![tensor(&[1], "")]));
    }

    #[test]
    fn what_is_no_tuple_is_nothing() {
        let deep = "(".repeat(40);
        let many = format!("({})", "1,".repeat(5000));
        for cell in [
            "",
            "5",
            "((1, 2)",
            "((1, 2)))",
            "(a)",
            "((-1,))",
            &deep,
            &many,
        ] {
            assert_eq!(arguments(cell, "()"), None, "{cell:.20}");
        }
    }
}
