//! Arguments that Python lets a caller name or not.

use minijinja::value::{Kwargs, from_args};
use minijinja::{Error, ErrorKind, Value};

/// What a filter or method was called with.
pub(super) struct Arguments<'a> {
    in_order: &'a [Value],
    named: Kwargs,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(in_order: &'a [Value], named: Kwargs) -> Self {
        Self { in_order, named }
    }

    /// Those of a method's call.
    pub(super) fn of_call(arguments: &'a [Value]) -> Result<Self, Error> {
        let (in_order, named) = from_args(arguments)?;
        Ok(Self { in_order, named })
    }

    /// The arguments of these names, in this order.
    ///
    /// # Errors
    /// If there are others.
    pub(super) fn take<const N: usize>(&self, names: [&str; N]) -> Result<[Option<Value>; N], Error> {
        if self.in_order.len() > N {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        let mut taken = [const { None }; N];
        for (index, (name, taken)) in names.into_iter().zip(&mut taken).enumerate() {
            *taken = match self.in_order.get(index) {
                Some(value) => Some(value.clone()),
                None if self.named.has(name) => Some(self.named.get(name)?),
                None => None,
            };
        }
        self.named.assert_all_used()?;
        Ok(taken)
    }
}
