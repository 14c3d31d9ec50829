# For llama.cpp's CMake, which .cargo/config.toml hands it to: leaves out what its own programs share (command lines, chat
# parsers, downloads). It is half of what would be compiled, and nothing here uses it.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "what llama.cpp's programs share" FORCE)
