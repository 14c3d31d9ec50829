// llama.cpp's logits of every token of some texts, each run alone as one batch.
//
//     llama_logits MODEL ADAPTER|- blas|no-blas THREADS OUT < IDS
//
// IDS has the token ids of a text on each line. OUT gets the logits of all tokens of all texts as raw f32. Compiled
// and called by llama_blas.py; `no-blas` takes the BLAS device out of the registry before llama.cpp looks there.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

[[noreturn]] static void fail(const std::string & problem) {
    std::cerr << "llama_logits: " << problem << "\n";
    std::exit(1);
}

static std::vector<std::vector<llama_token>> read_texts(std::istream & in) {
    std::vector<std::vector<llama_token>> texts;
    for (std::string line; std::getline(in, line);) {
        std::istringstream numbers(line);
        std::vector<llama_token> ids;
        for (llama_token id; numbers >> id;) {
            ids.push_back(id);
        }
        if (!numbers.eof() || ids.empty()) {
            fail("line " + std::to_string(texts.size() + 1) + " is not a list of token ids");
        }
        texts.push_back(ids);
    }
    return texts;
}

int main(int argc, char ** argv) {
    if (argc != 6) {
        fail("expected MODEL ADAPTER|- blas|no-blas THREADS OUT");
    }
    const std::string model_path = argv[1], adapter_path = argv[2], blas = argv[3], out_path = argv[5];
    const int n_threads = std::atoi(argv[4]);
    // Only what is worth a warning.
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level >= GGML_LOG_LEVEL_WARN && level <= GGML_LOG_LEVEL_ERROR) {
            std::fputs(text, stderr);
        }
    }, nullptr);

    const ggml_backend_reg_t reg = ggml_backend_reg_by_name("BLAS");
    if (reg == nullptr) {
        fail("this llama.cpp was built without BLAS");
    }
    if (blas == "no-blas") {
        ggml_backend_unload(reg);
    }
    std::cerr << "devices:";
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        const ggml_backend_dev_t device = ggml_backend_dev_get(i);
        std::cerr << " " << ggml_backend_dev_name(device) << " (" << ggml_backend_dev_description(device) << ")";
    }
    std::cerr << "\n";

    const auto texts = read_texts(std::cin);
    size_t longest = 0;
    for (const auto & ids : texts) {
        longest = std::max(longest, ids.size());
    }

    llama_model_params model_params = llama_model_default_params();
    model_params.use_extra_bufts = false; // matrices as they are in the file
    llama_model * model = llama_model_load_from_file(model_path.c_str(), model_params);
    if (model == nullptr) {
        fail("cannot load " + model_path);
    }
    llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = static_cast<uint32_t>(longest);
    params.n_threads = params.n_threads_batch = n_threads;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, params);
    if (context == nullptr) {
        fail("cannot make a context");
    }
    if (adapter_path != "-") {
        llama_adapter_lora * adapter = llama_adapter_lora_init(model, adapter_path.c_str());
        float scale = 1.0f;
        if (adapter == nullptr || llama_set_adapters_lora(context, &adapter, 1, &scale) != 0) {
            fail("cannot use " + adapter_path);
        }
    }

    std::ofstream out(out_path, std::ios::binary);
    const size_t n_vocab = static_cast<size_t>(llama_vocab_n_tokens(llama_model_get_vocab(model)));
    for (const auto & ids : texts) {
        llama_memory_clear(llama_get_memory(context), true);
        const int32_t n = static_cast<int32_t>(ids.size());
        llama_batch batch = llama_batch_init(n, 0, 1);
        batch.n_tokens = n;
        for (int32_t i = 0; i < n; i++) {
            batch.token[i] = ids[static_cast<size_t>(i)];
            batch.pos[i] = i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = 1;
        }
        if (llama_decode(context, batch) != 0) {
            fail("llama_decode failed");
        }
        for (int32_t i = 0; i < n; i++) {
            const float * row = llama_get_logits_ith(context, i);
            if (row == nullptr) {
                fail("a row of logits is missing");
            }
            out.write(reinterpret_cast<const char *>(row), static_cast<std::streamsize>(n_vocab * sizeof(float)));
        }
        llama_batch_free(batch);
    }
    out.close();
    if (!out) {
        fail("cannot write " + out_path);
    }
    llama_free(context);
    llama_model_free(model);
}
