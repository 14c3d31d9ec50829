//! Round trips through a file, and hostile bytes.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use rand::{Rng, SeedableRng};

use super::*;

/// A small well-formed file: every type of value, three tensors.
fn sample() -> Vec<u8> {
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", Value::String("llama".into()));
    metadata.insert("count", Value::U32(7));
    metadata.insert("negative", Value::I64(-1));
    metadata.insert("eps", Value::F32(1e-5));
    metadata.insert("yes", Value::Bool(true));
    metadata.insert("tokens", Value::Array(Array::String(vec!["a".into(), "é".into(), String::new()])));
    metadata.insert("scores", Value::Array(Array::F32(vec![0.0, -1.5])));
    metadata.insert("flags", Value::Array(Array::Bool(vec![true, false])));
    metadata.insert(
        "nested",
        Value::Array(Array::Array(vec![Array::U8(vec![1, 2]), Array::Array(vec![Array::I32(vec![-3])])])),
    );
    let mut writer = Writer::new(metadata);
    writer.tensor("one", &[32, 2], TensorType::Q4_1, (0..40).collect::<Vec<u8>>()).unwrap();
    writer.tensor("two", &[3], TensorType::F32, vec![0x3f; 12]).unwrap();
    writer.tensor("three", &[1, 1, 2, 2], TensorType::I8, vec![9; 4]).unwrap();
    bytes_of(writer)
}

fn bytes_of(writer: Writer) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.gguf");
    let n = writer.write(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, n);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    bytes
}

#[test]
fn a_file_reads_back() {
    let bytes = sample();
    let file = parse(&bytes).unwrap();
    let metadata = &file.metadata;
    assert_eq!(metadata.string("general.architecture"), Some("llama"));
    assert_eq!(metadata.u64("count"), Some(7));
    assert_eq!(metadata.u64("negative"), None);
    assert_eq!(metadata.f32("eps"), Some(1e-5));
    assert_eq!(metadata.bool("yes"), Some(true));
    assert_eq!(metadata.strings("tokens").unwrap().join("|"), "a|é|");
    assert_eq!(metadata.f32s("scores"), Some(&[0.0, -1.5][..]));
    assert_eq!(metadata.i32s("scores"), None);
    assert_eq!(metadata.string("count"), None);
    let [one, _, three] = file.tensors.as_slice() else { panic!("{} tensors", file.tensors.len()) };
    assert_eq!((one.dims.as_slice(), one.kind, one.n_bytes), (&[32, 2][..], TensorType::Q4_1, 40));
    assert_eq!(one.bytes(&bytes), (0..40).collect::<Vec<u8>>());
    assert_eq!(three.bytes(&bytes), [9; 4]);
    assert!(file.tensors.iter().all(|tensor| tensor.offset % 32 == 0));
    let elsewhere = TensorInfo { offset: u64::MAX, ..one.clone() };
    assert_eq!(elsewhere.bytes(&bytes), b"");
}

#[test]
fn the_writer_refuses_nonsense() {
    fn refused(name: &str, dims: &[u64], kind: TensorType, n_bytes: usize, problem: Problem) {
        let mut writer = Writer::new(Metadata::new());
        writer.tensor("w", &[4], TensorType::F32, vec![0; 16]).unwrap();
        let expected = problem.at(Place::Tensor(name.to_owned()));
        assert_eq!(writer.tensor(name, dims, kind, vec![0; n_bytes]), Err(expected));
    }
    refused("w", &[4], TensorType::F32, 16, Problem::NameTaken);
    refused("short", &[4], TensorType::F32, 15, Problem::Size { given: 15, expected: 16 });
    let unfit = |dims: &[u64], kind| Problem::UnwritableBlocks { dims: dims.to_owned(), kind };
    refused("row", &[33], TensorType::Q4_0, 18, unfit(&[33], TensorType::Q4_0));
    refused("empty", &[0], TensorType::F32, 0, Problem::Shape);
    refused("", &[1], TensorType::F32, 4, Problem::Name);
    refused(&"n".repeat(64), &[1], TensorType::F32, 4, Problem::Name);
    refused("deep", &[1; 5], TensorType::I8, 1, Problem::Shape);
    refused("huge", &[1 << 62, 8], TensorType::I8, 1, unfit(&[1 << 62, 8], TensorType::I8));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let unwritable = |writer: Writer| match writer.write(&path) {
        Err(Error::Unwritable { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    let too_few = |missing| Problem::TooFewBytes { tensor: "w".into(), missing };
    for (given, problem) in [(0usize, too_few(16)), (15, too_few(1)), (17, Problem::TooManyBytes)] {
        let mut writer = Writer::new(Metadata::new());
        writer
            .tensor_produced("w", &[4], TensorType::F32, move |sink| Ok(sink.write(&vec![0; given])?))
            .unwrap();
        assert_eq!(unwritable(writer), problem);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing half-written is left");
    }
    let mut metadata = Metadata::new();
    metadata.insert(ALIGNMENT_KEY, Value::U32(24));
    assert_eq!(unwritable(Writer::new(metadata)), Problem::UnwritableAlignment);
}

#[test]
fn the_first_bytes_are_enough_for_the_header() {
    let bytes = sample();
    let (whole, file_len) = (parse(&bytes).unwrap(), bytes.len() as u64);
    let mut is_known = false;
    for len in 0..=bytes.len() {
        match parse_start(&bytes[..len], file_len).unwrap() {
            None => assert!(!is_known && (len as u64) < whole.data_offset, "{len} bytes"),
            Some(header) => {
                assert_eq!((header.tensors, header.data_offset), (whole.tensors.clone(), whole.data_offset));
                is_known = true;
            }
        }
    }
    assert!(is_known);

    // What no further bytes mend is told at once, what only the whole file can have is measured by it.
    assert_eq!(parse_start(b"PK\x03\x04", file_len).unwrap_err(), Problem::Magic { found: *b"PK\x03\x04" });
    let start = &bytes[..whole.data_offset as usize];
    assert!(matches!(parse_start(start, file_len - 100).unwrap_err(), Problem::PastEnd { .. }));
    assert_eq!(parse_start(&bytes[..20], 20).unwrap_err(), Problem::Truncated { len: 20 });
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = sample();
    let header = parse(&bytes).unwrap();
    let end = header.tensors.iter().map(|tensor| tensor.offset + tensor.n_bytes).max().unwrap() as usize;
    for len in 0..end {
        let problem = match parse(&bytes[..len]).unwrap_err() {
            Problem::At { source, .. } => *source,
            problem => problem,
        };
        let is_cut = match &problem {
            Problem::Truncated { len: found } => *found == len,
            Problem::PastEnd { file_len, .. } => *file_len == len as u64,
            Problem::Count { .. } => true,
            _ => false,
        };
        assert!(is_cut, "{problem:?}");
    }
    // Only the padding after the last tensor may be missing.
    parse(&bytes[..end]).unwrap();
}

/// Builds hostile headers by hand.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn new(n_tensors: u64, n_keys: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(n_tensors).u64(n_keys)
    }
    fn u32(mut self, v: u32) -> Self {
        self.0.extend(v.to_le_bytes());
        self
    }
    fn u64(mut self, v: u64) -> Self {
        self.0.extend(v.to_le_bytes());
        self
    }
    fn text(self, text: impl AsRef<[u8]>) -> Self {
        let mut this = self.u64(text.as_ref().len() as u64);
        this.0.extend(text.as_ref());
        this
    }
    fn tensor(self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let this = self.text(name).u32(dims.len() as u32);
        dims.iter().fold(this, |this, &dim| this.u64(dim)).u32(kind).u64(offset)
    }
    fn zeros(mut self, n: usize) -> Self {
        self.0.resize(self.0.len() + n, 0);
        self
    }
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
    fn refused(self, problem: Problem) {
        assert_eq!(parse(&self.0).map(drop), Err(problem));
    }
    /// Refused for what stands under the key `k`.
    fn value_refused(self, problem: Problem) {
        self.refused(problem.at(Place::Key("k".into())));
    }
}

/// `count` of something, which `left` bytes and the largest number of it do not allow.
fn too_many(what: Counted, count: u64, left: usize) -> Problem {
    let limit = match what {
        Counted::Tensors => 1 << 18,
        Counted::Keys => 1 << 16,
        Counted::TextBytes => 16 << 20,
        Counted::ArrayElements => u64::MAX,
    };
    Problem::Count { what, count, left, limit }
}

fn name_too_long(len: u64, left: usize, limit: u64) -> Problem {
    Problem::Count { what: Counted::TextBytes, count: len, left, limit }
}

#[test]
fn hostile_headers_are_refused() {
    Raw(b"".to_vec()).refused(Problem::Truncated { len: 0 });
    for magic in [*b"GGML", *b"\x00\xff\n\x1b"] {
        Raw(magic.to_vec()).zeros(100).refused(Problem::Magic { found: magic });
    }
    let version = |version| Raw(b"GGUF".to_vec()).u32(version).zeros(100);
    version(1).refused(Problem::OutdatedVersion);
    version(4).refused(Problem::UnknownVersion(4));
    version(3u32.swap_bytes()).refused(Problem::BigEndian);
    // Counts that are not backed by bytes.
    Raw::new(u64::MAX, 0).zeros(1000).refused(too_many(Counted::Tensors, u64::MAX, 1000));
    Raw::new(0, u64::MAX).zeros(1000).refused(too_many(Counted::Keys, u64::MAX, 1000));
    Raw::new(1 << 40, 0).zeros(1000).refused(too_many(Counted::Tensors, 1 << 40, 1000));
    Raw::new(0, 1 << 17).zeros(14 << 17).refused(too_many(Counted::Keys, 1 << 17, 14 << 17));
    Raw::new(1 << 19, 0).zeros(25 << 19).refused(too_many(Counted::Tensors, 1 << 19, 25 << 19));
    // Keys.
    let key = |raw: Raw, problem: Problem| raw.refused(problem.at(Place::KeyName(0)));
    key(Raw::new(0, 1).u64(u64::MAX).zeros(1000), name_too_long(u64::MAX, 1000, 65_535));
    key(Raw::new(0, 1).u64(900).zeros(800), name_too_long(900, 800, 65_535));
    key(Raw::new(0, 1).text(b"\xff\xfe").u32(0).zeros(100), Problem::NotUtf8 { offset: 32 });
    let long = Raw::new(0, 1).text(vec![b'k'; 70_000]).zeros(100);
    key(long, name_too_long(70_000, 70_100, 65_535));
    Raw::new(0, 1).text("").u32(0).zeros(100).refused(Problem::EmptyKey { index: 0 });
    let twice = Raw::new(0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(2).zeros(100);
    twice.refused(Problem::RepeatedKey { key: "k".into() });
    // Values.
    let value = |kind| Raw::new(0, 1).text("k").u32(kind);
    value(13).zeros(100).value_refused(Problem::ValueType(13));
    value(7).u32(2).zeros(100).value_refused(Problem::NotBool(2));
    let too_long = too_many(Counted::TextBytes, 17 << 20, 17 << 20);
    value(8).u64(17 << 20).zeros(17 << 20).value_refused(too_long);
    // Arrays.
    for (kind, count) in [(0, u64::MAX), (12, u64::MAX / 8), (8, 1 << 60)] {
        let problem = too_many(Counted::ArrayElements, count, 100);
        value(9).u32(kind).u64(count).zeros(100).value_refused(problem);
    }
    value(9).u32(99).u64(1).zeros(100).value_refused(Problem::ArrayType(99));
    let bomb = |levels| (0..levels).fold(value(9), |raw: Raw, _| raw.u32(9).u64(1));
    bomb(5).u32(0).u64(0).zeros(100).value_refused(Problem::Nesting { limit: 4 });
    bomb(100_000).zeros(100).value_refused(Problem::Nesting { limit: 4 });
    assert!(parse(&bomb(3).u32(0).u64(0).zeros(100).0).is_ok());
    // Alignment.
    let alignment = |kind| Raw::new(0, 1).text(ALIGNMENT_KEY).u32(kind);
    for bad in [0, 1, 4, 24, 33] {
        alignment(4).u32(bad).zeros(100).refused(Problem::Alignment(bad.into()));
    }
    alignment(8).text("32").zeros(100).refused(Problem::AlignmentType("string"));
    let huge = Raw::new(1, 1).text(ALIGNMENT_KEY).u32(10).u64(1 << 63).tensor("t", &[4], 0, 0).zeros(100);
    let file_len = huge.len();
    huge.refused(Problem::PastEnd { tensor: "t".into(), n_bytes: 16, offset: 0, file_len });
}

#[test]
fn hostile_tensors_are_refused() {
    let one = |dims: &[u64], kind, offset| Raw::new(1, 0).tensor("t", dims, kind, offset).zeros(4096);
    let refused = |raw: Raw, problem: Problem| raw.refused(problem.at(Place::Tensor("t".into())));
    refused(one(&[4, 1, 1, 1, 1], 0, 0), Problem::TooManyDimensions(5));
    let many = Raw::new(1, 0).text("t").u32(u32::MAX).zeros(4096);
    refused(many, Problem::TooManyDimensions(u32::MAX as usize));
    for dims in [vec![0], vec![u64::MAX, 2], vec![1 << 32, 1 << 32]] {
        refused(one(&dims, 24, 0), Problem::Dimensions(dims));
    }
    for (dim, kind) in [(i64::MAX as u64, TensorType::F64), (31, TensorType::Q4_0), (128, TensorType::Q4_K)] {
        refused(one(&[dim], kind.ggml_id(), 0), Problem::Blocks { dims: vec![dim], kind });
    }
    for id in [43, u32::MAX] {
        refused(one(&[32], id, 0), Problem::ElementType(id));
    }
    for id in [4, 5, 31, 38] {
        let removed = RemovedType::from_ggml_id(id).unwrap();
        refused(one(&[32], id, 0), Problem::RemovedType(removed));
    }
    refused(one(&[4], 0, 8), Problem::Misaligned { offset: 8, alignment: 32 });
    for (dim, offset) in [(4, 4096), (1 << 20, 0), (4, u64::MAX - 31)] {
        let raw = one(&[dim], 0, offset);
        let file_len = raw.len();
        raw.refused(Problem::PastEnd { tensor: "t".into(), n_bytes: 4 * dim, offset, file_len });
    }
    let two = |a: &str, b: &str, offset| {
        Raw::new(2, 0).tensor(a, &[16], 0, 0).tensor(b, &[16], 0, offset).zeros(4096)
    };
    assert!(parse(&two("a", "b", 64).0).is_ok());
    two("a", "a", 64).refused(Problem::RepeatedTensor { name: "a".into() });
    for offset in [32, 0] {
        two("a", "b", offset).refused(Problem::Overlap { first: "a".into(), second: "b".into() });
    }
    let named = Raw::new(1, 0).u64(64).zeros(4096);
    named.refused(name_too_long(64, 4096, 63).at(Place::TensorName(0)));
}

#[test]
fn decoded_size_is_bounded() {
    // 30 million empty strings: 240 MB in the file, 720 MB decoded.
    let n = 30_000_000;
    let raw = Raw::new(0, 1).text("k").u32(9).u32(8).u64(n).zeros(8 * n as usize);
    raw.value_refused(Problem::Memory { limit: 512 << 20 });
}

#[test]
fn random_mutations_never_panic() {
    let valid = sample();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut bytes = valid.clone();
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(0..bytes.len());
            bytes[place] =
                if rng.random() { rng.random() } else { *[0, 0x7f, 0x80, 0xff].get(place % 4).unwrap() };
        }
        refused += usize::from(parse(&bytes).is_err());
    }
    assert!(refused > 5_000, "only {refused} of 20,000 mutants were refused");
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<f32>().prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        any::<String>().prop_map(Value::String),
        array().prop_map(Value::Array),
    ]
}

fn array() -> impl Strategy<Value = Array> {
    fn list<T: Arbitrary + 'static>(wrap: fn(Vec<T>) -> Array) -> BoxedStrategy<Array>
    where
        T::Strategy: 'static,
    {
        prop::collection::vec(any::<T>(), 0..5).prop_map(wrap).boxed()
    }
    let leaf = prop_oneof![
        list(Array::U8),
        list(Array::I8),
        list(Array::U16),
        list(Array::I16),
        list(Array::U32),
        list(Array::I32),
        list(Array::F32),
        list(Array::Bool),
        list(Array::String),
        list(Array::U64),
        list(Array::I64),
        list(Array::F64),
    ];
    // With the leaf: four levels, as many as the reader allows.
    leaf.prop_recursive(3, 16, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Array::Array))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_written_reads_back(
        entries in prop::collection::btree_map("[a-z.]{1,20}", value(), 0..8),
        tensors in prop::collection::btree_map(
            "[a-z.]{1,20}",
            (0..TensorType::ALL.len(), prop::collection::vec(1u64..4, 0..4), any::<u8>()),
            0..5,
        ),
        alignment in prop::sample::select(vec![None, Some(8u32), Some(64)]),
    ) {
        let mut metadata = Metadata::new();
        entries.into_iter().for_each(|(key, value)| drop(metadata.insert(key, value)));
        metadata.insert(ALIGNMENT_KEY, Value::U32(alignment.unwrap_or(32)));
        let mut writer = Writer::new(metadata.clone());
        let mut expected = Vec::new();
        for (name, (kind, rest, fill)) in &tensors {
            let kind = TensorType::ALL[*kind];
            let mut dims = vec![2 * kind.block_len()];
            dims.extend(rest.iter().take(3));
            let bytes = vec![*fill; kind.tensor_bytes(&dims).unwrap() as usize];
            writer.tensor(name, &dims, kind, bytes.clone()).unwrap();
            expected.push((name, dims, kind, bytes));
        }
        let bytes = bytes_of(writer);
        let header = parse(&bytes).unwrap();
        prop_assert_eq!(header.version, 3);
        // NaN is not equal to itself, its text is.
        prop_assert_eq!(format!("{:?}", header.metadata.iter().collect::<Vec<_>>()),
            format!("{:?}", metadata.iter().collect::<Vec<_>>()));
        prop_assert_eq!(header.tensors.len(), expected.len());
        for (tensor, (name, dims, kind, data)) in header.tensors.iter().zip(&expected) {
            prop_assert_eq!((&tensor.name, &tensor.dims, tensor.kind), (*name, dims, *kind));
            let start = tensor.offset as usize;
            prop_assert_eq!(&bytes[start..start + tensor.n_bytes as usize], data.as_slice());
        }
    }
}
