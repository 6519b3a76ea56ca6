#include "core/file_digest.h"

#include <openssl/evp.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "core/digest.h"
#include "core/error.h"

namespace canvaslab {

std::string file_sha256(const std::string& path) {
  std::error_code problem;
  std::ifstream in(path, std::ios::binary);
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!in.is_open() || !std::filesystem::is_regular_file(path, problem)) throw input_error("{}: cannot be read; is the path right?", path);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::vector<char> buffer(size_t{1} << 18);
  do {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<size_t>(in.gcount()));
  } while (in);
  if (in.bad()) throw input_error("{}: cannot be read to its end", path);
  Sha256 out;
  EVP_DigestFinal_ex(context.get(), out.data(), nullptr);
  return hex(out);
}

}  // namespace canvaslab
