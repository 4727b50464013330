//! A deserialiser that takes numbers by value: `2.0` and `2e0` are whole numbers where one is wanted. A `Value` or a
//! float gets them as they were spelled.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

/// Reads as `D` does, numbers by value, and a struct from an object alone. What serde buffers before it knows the type
/// (untagged enums, flattened structs) is read as without it.
pub(crate) struct NumbersByValue<D>(pub(crate) D);

/// The least float above all of 64 bits without sign: 2^64.
const U64_END: f64 = 18_446_744_073_709_551_616.0;
/// The least float of 64 bits with sign: -2^63.
const I64_START: f64 = -9_223_372_036_854_775_808.0;

macro_rules! wrapped {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(VisitorByValue { visitor, wanted: ExpectedType::Any })
        }
    )*};
}

macro_rules! whole {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(VisitorByValue { visitor, wanted: ExpectedType::WholeNumber })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for NumbersByValue<D> {
    type Error = D::Error;

    whole! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    wrapped! {
        deserialize_any deserialize_bool deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option deserialize_unit deserialize_seq
        deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, VisitorByValue { visitor, wanted: ExpectedType::Any })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, VisitorByValue { visitor, wanted: ExpectedType::Any })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, VisitorByValue { visitor, wanted: ExpectedType::Any })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, len, VisitorByValue { visitor, wanted: ExpectedType::Any })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, VisitorByValue { visitor, wanted: ExpectedType::Object })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, VisitorByValue { visitor, wanted: ExpectedType::Any })
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// A visitor whose parts are read by value too.
struct VisitorByValue<V> {
    visitor: V,
    wanted: ExpectedType,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ExpectedType {
    Any,
    WholeNumber,
    /// A struct, which serde would also take from an array of its members in their order.
    Object,
}

macro_rules! passed {
    ($($method:ident $type:ty,)*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for VisitorByValue<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(formatter)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        if self.wanted != ExpectedType::WholeNumber || value.fract() != 0.0 {
            return self.visitor.visit_f64(value);
        }
        if (0.0..U64_END).contains(&value) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within bounds")]
            return self.visitor.visit_u64(value as u64);
        }
        if (I64_START..0.0).contains(&value) {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within bounds")]
            return self.visitor.visit_i64(value as i64);
        }
        self.visitor.visit_f64(value)
    }

    passed! {
        visit_bool bool, visit_i8 i8, visit_i16 i16, visit_i32 i32, visit_i64 i64, visit_i128 i128, visit_u8 u8,
        visit_u16 u16, visit_u32 u32, visit_u64 u64, visit_u128 u128, visit_f32 f32, visit_char char, visit_str &str,
        visit_borrowed_str &'de str, visit_string String, visit_bytes &[u8], visit_borrowed_bytes &'de [u8],
        visit_byte_buf Vec<u8>,
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(NumbersByValue(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(NumbersByValue(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        if self.wanted == ExpectedType::Object {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self.visitor));
        }
        self.visitor.visit_seq(NumbersByValue(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(NumbersByValue(members))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(NumbersByValue(data))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for NumbersByValue<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(NumbersByValue(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for NumbersByValue<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(NumbersByValue(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for NumbersByValue<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        // A key is text: there is no number in it to be read by value.
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(NumbersByValue(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for NumbersByValue<A> {
    type Error = A::Error;
    type Variant = NumbersByValue<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (variant, data) = self.0.variant_seed(seed)?;
        Ok((variant, NumbersByValue(data)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for NumbersByValue<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(NumbersByValue(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, VisitorByValue { visitor, wanted: ExpectedType::Any })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, VisitorByValue { visitor, wanted: ExpectedType::Any })
    }
}
