// SwiftPM builds a C target from at least one source file. This one holds nothing: the functions that the
// header in include/ declares are in the Rust library.
