# For llama.cpp's CMake, which .cargo/config.toml hands it to.

# What llama.cpp's programs share (command lines, chat parsers, downloads) is half of what would be compiled, and nothing
# here uses it.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "what llama.cpp's programs share" FORCE)

# Debug information, which cargo's release profile asks for, takes some 30 % of the time that what remains is compiled in, and
# makes every program that is linked with it larger.
foreach(language C CXX)
    string(REPLACE "-g " "" CMAKE_${language}_FLAGS_RELWITHDEBINFO "${CMAKE_${language}_FLAGS_RELWITHDEBINFO}")
endforeach()
