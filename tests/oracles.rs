//! Our tokenizer and our forward against llama.cpp's own, in a program that nothing else uses llama.cpp in. Most of them
//! need the real model.

mod architectures_llama_cpp;
mod import;
mod llama_cpp;
mod support;
mod tokenizer;
