#include "core/text/bpe.h"

#include <algorithm>
#include <numeric>

#include "core/text/utf8.h"

namespace canvaslab {
namespace {

constexpr uint64_t kFree = ~uint64_t{0};
constexpr int64_t kMaxId = 1 << 21;  // eight times the largest vocabularies there are: a larger id is a broken file, and would cost memory and time

uint64_t pair_key(int32_t left, int32_t right) { return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right); }

uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9E3779B97F4A7C15u;
  return x ^ x >> 29;
}

size_t table_size(size_t entries) {
  size_t size = 16;
  while (size < entries * 2) size *= 2;
  return size;
}

uint64_t hash_ids(std::span<const int32_t> ids) {
  uint64_t hash = ids.size();
  for (int32_t id : ids) hash = mix(hash ^ static_cast<uint32_t>(id)) + hash;
  return hash ^ hash >> 31;
}

}  // namespace

Bpe::Bpe(const JsonFields& model) : where_(model.where()) {
  const std::string type = model.text_or("type", "BPE");
  if (type != "BPE") throw input_error("{}: model '{}' is not supported; expected BPE", model.at("type"), type);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!model.text_or(key, "").empty()) throw input_error("{}: '{}' is not supported; expected null", model.at(key), model.text(key));
  if (const auto* dropout = model.find("dropout"); dropout && !(dropout->is_number() && dropout->get<double>() == 0))
    throw input_error("{}: dropout makes encoding random and is not supported; expected null", model.at("dropout"));
  fuse_unk_ = model.flag_or("fuse_unk", false);
  byte_fallback_ = model.flag_or("byte_fallback", false);
  ignore_merges_ = model.flag_or("ignore_merges", false);
  has_unk_ = model.find("unk_token") != nullptr;
  if (has_unk_) unk_token_ = model.text("unk_token");
  read_vocabulary(model);
  read_merges(model);
  find_junctions();
}

void Bpe::read_vocabulary(const JsonFields& model) {
  const auto& vocabulary = model.need("vocab");
  if (!vocabulary.is_object()) throw input_error("{}: expected an object of token to id, got {}", model.at("vocab"), vocabulary.type_name());
  ids_.reserve(vocabulary.size());
  for (const auto& [token, value] : vocabulary.items()) {
    if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() > kMaxId)
      throw input_error("{}: token '{}' has id {}; expected a whole number from 0 to {}", model.at("vocab"), token, json_text(value), kMaxId);
    const int32_t id = value.get<int32_t>();
    ids_[token] = id;
    if (static_cast<size_t>(id) >= tokens_.size()) {
      tokens_.resize(static_cast<size_t>(id) + 1);
      known_.resize(static_cast<size_t>(id) + 1, 0);
    }
    if (known_[static_cast<size_t>(id)])
      throw input_error("{}: id {} belongs to both '{}' and '{}'", model.at("vocab"), id, tokens_[static_cast<size_t>(id)], token);
    tokens_[static_cast<size_t>(id)] = token;
    known_[static_cast<size_t>(id)] = 1;
  }
  character_ids_.assign(65536, -1);
  for (const auto& [token, id] : ids_) {
    const CodePoint c = code_point_at(token, 0);
    if (c.code >= 0 && c.code < 65536 && c.length == token.size() && c.length > 0) character_ids_[static_cast<size_t>(c.code)] = id;
  }
  for (int b = 0; b < 256; ++b) byte_ids_[static_cast<size_t>(b)] = id(fmt::format("<0x{:02X}>", b)).value_or(-1);
}

void Bpe::read_merges(const JsonFields& model) {
  const auto& merges = model.array("merges");
  std::unordered_map<uint64_t, std::pair<int32_t, int32_t>> found;  // pair -> rank, product; a repeated pair takes the later rank
  found.reserve(merges.size());
  std::string left, right;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& entry = merges[rank];
    const auto where = [&] { return fmt::format("{}[{}]", model.at("merges"), rank); };
    if (entry.is_string()) {
      const auto& text = entry.get_ref<const std::string&>();
      if (text.starts_with("#version")) throw input_error("{}: a '#version' line is not supported inside tokenizer.json", where());
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
        throw input_error("{}: '{}' should be two tokens with one space between", where(), text);
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      left = entry[0].get_ref<const std::string&>();
      right = entry[1].get_ref<const std::string&>();
    } else {
      throw input_error("{}: expected [\"left\", \"right\"] or \"left right\", got {}", where(), json_text(entry).substr(0, 60));
    }
    const auto l = id(left), r = id(right), product = id(left + right);
    for (const auto& [token, known] : {std::pair(left, l), std::pair(right, r), std::pair(left + right, product)})
      if (!known) throw input_error("{}: token '{}' is not in the vocabulary", where(), token);
    found[pair_key(*l, *r)] = {static_cast<int32_t>(rank), *product};
  }
  rules_.assign(table_size(found.size()), {});
  for (const auto& [pair, value] : found) {
    size_t slot = mix(pair) & (rules_.size() - 1);
    while (rules_[slot].pair != kFree) slot = (slot + 1) & (rules_.size() - 1);
    rules_[slot] = {pair, value.first, value.second};
  }
}

// A merge joins symbols across a border only if the left one ends, and the right one begins, with the initial symbols at
// that border. So the borders that no merge of the whole file fits can be cut first, without changing any result: texts
// that a file does not pre-tokenise fall into words, which are short, come again and need merging only once.
void Bpe::find_junctions() {
  std::vector<const Rule*> order;
  for (const auto& rule : rules_)
    if (rule.pair != kFree) order.push_back(&rule);
  std::sort(order.begin(), order.end(), [&](const Rule* a, const Rule* b) {
    return tokens_[static_cast<size_t>(a->id)].size() < tokens_[static_cast<size_t>(b->id)].size();
  });
  // The initial symbols a token can begin and end with, over all ways to build it: nearly always one.
  std::vector<std::vector<int32_t>> firsts(tokens_.size()), lasts(tokens_.size());
  for (size_t i = 0; i < tokens_.size(); ++i) firsts[i] = lasts[i] = {static_cast<int32_t>(i)};
  const auto starts_as_symbol = [&](int32_t token) {
    const std::string& text = tokens_[static_cast<size_t>(token)];
    return code_point_at(text, 0).length == text.size() || (has_unk_ && text == unk_token_) ||
           std::find(byte_ids_.begin(), byte_ids_.end(), token) != byte_ids_.end();
  };
  std::vector<uint8_t> built(tokens_.size(), 0);
  const auto add = [](std::vector<int32_t>& to, const std::vector<int32_t>& from) {
    for (int32_t id : from)
      if (std::find(to.begin(), to.end(), id) == to.end()) to.push_back(id);
  };
  std::unordered_map<uint64_t, bool> pairs;
  for (const Rule* rule : order) {
    const auto left = static_cast<size_t>(rule->pair >> 32), right = static_cast<size_t>(rule->pair & 0xFFFFFFFFu);
    const auto product = static_cast<size_t>(rule->id);
    if (!built[product]) {
      built[product] = 1;
      if (!starts_as_symbol(rule->id)) firsts[product].clear(), lasts[product].clear();
    }
    add(firsts[product], firsts[left]);
    add(lasts[product], lasts[right]);
    for (int32_t l : lasts[left])
      for (int32_t r : firsts[right]) pairs[pair_key(l, r)] = true;
  }
  junctions_.assign(table_size(pairs.size()), kFree);
  for (const auto& [pair, used] : pairs) {
    size_t slot = mix(pair) & (junctions_.size() - 1);
    while (junctions_[slot] != kFree) slot = (slot + 1) & (junctions_.size() - 1);
    junctions_[slot] = pair;
  }
}

std::optional<int32_t> Bpe::id(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Bpe::token(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < tokens_.size() && known_[static_cast<size_t>(id)] ? &tokens_[static_cast<size_t>(id)] : nullptr;
}

const Bpe::Rule* Bpe::rule(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(left, right);
  for (size_t slot = mix(pair) & (rules_.size() - 1);; slot = (slot + 1) & (rules_.size() - 1)) {
    if (rules_[slot].pair == pair) return &rules_[slot];
    if (rules_[slot].pair == kFree) return nullptr;
  }
}

bool Bpe::may_join(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(left, right);
  for (size_t slot = mix(pair) & (junctions_.size() - 1);; slot = (slot + 1) & (junctions_.size() - 1)) {
    if (junctions_[slot] == pair) return true;
    if (junctions_[slot] == kFree) return false;
  }
}

void Bpe::initial_symbols(std::string_view piece, std::vector<int32_t>& out) const {
  int32_t pending_unk = -1;
  for (size_t at = 0; at < piece.size();) {
    const CodePoint c = code_point_at(piece, at);
    const std::string_view character = piece.substr(at, c.length);
    at += c.length;
    const int32_t known = c.code >= 0 && c.code < 65536 ? character_ids_[static_cast<size_t>(c.code)] : id(character).value_or(-1);
    if (known >= 0) {
      if (pending_unk >= 0) out.push_back(pending_unk);
      pending_unk = -1;
      out.push_back(known);
      continue;
    }
    if (byte_fallback_ && std::all_of(character.begin(), character.end(), [&](char b) { return byte_ids_[static_cast<uint8_t>(b)] >= 0; })) {
      for (char b : character) out.push_back(byte_ids_[static_cast<uint8_t>(b)]);
      continue;  // an unknown that waits goes on waiting: it comes behind these bytes, as in the reference
    }
    if (!has_unk_) continue;  // without an unknown token such characters vanish, as in the reference
    if (pending_unk >= 0 && !fuse_unk_) out.push_back(pending_unk);
    if (pending_unk < 0 || !fuse_unk_) {
      const auto unk = id(unk_token_);
      if (!unk) throw input_error("{}.unk_token: '{}' is not in the vocabulary, but the character '{}' needs it", where_, unk_token_, character);
      pending_unk = *unk;
    }
  }
  if (pending_unk >= 0) out.push_back(pending_unk);
}

void Bpe::Encoder::encode(std::string_view piece, std::vector<int32_t>& out) {
  if (bpe_.ignore_merges_) {
    if (const auto whole = bpe_.id(piece)) {
      out.push_back(*whole);
      return;
    }
  }
  word_.clear();
  bpe_.initial_symbols(piece, word_);
  size_t begin = 0;
  for (size_t i = 1; i <= word_.size(); ++i) {
    if (i < word_.size() && bpe_.may_join(word_[i - 1], word_[i])) continue;
    encode_word(std::span(word_).subspan(begin, i - begin), out);
    begin = i;
  }
}

void Bpe::Encoder::encode_word(std::span<const int32_t> symbols, std::vector<int32_t>& out) {
  constexpr size_t kLongest = 64;  // longer words hardly come again
  if (symbols.size() == 1) return out.push_back(symbols[0]);
  if (symbols.size() > kLongest) return merge(symbols, out);
  if (slots_.size() < 2 * (num_words_ + 1)) grow();
  size_t at = hash_ids(symbols) & (slots_.size() - 1);
  for (; slots_[at].key_length; at = (at + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[at];
    if (slot.key_length == symbols.size() && std::equal(symbols.begin(), symbols.end(), keys_.begin() + static_cast<std::ptrdiff_t>(slot.key_begin))) {
      for (size_t i = 0; i < slot.out_length; ++i) {
        const int32_t id = out[slot.out_begin + i];
        out.push_back(id);
      }
      return;
    }
  }
  Slot& slot = slots_[at];
  slot = {keys_.size(), out.size(), static_cast<uint32_t>(symbols.size()), 0};
  keys_.insert(keys_.end(), symbols.begin(), symbols.end());
  merge(symbols, out);
  slot.out_length = static_cast<uint32_t>(out.size() - slot.out_begin);
  ++num_words_;
}

void Bpe::Encoder::grow() {
  std::vector<Slot> old(std::max<size_t>(256, slots_.size() * 2));
  std::swap(old, slots_);
  for (const Slot& slot : old) {
    if (!slot.key_length) continue;
    size_t at = hash_ids(std::span(keys_).subspan(slot.key_begin, slot.key_length)) & (slots_.size() - 1);
    while (slots_[at].key_length) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot;
  }
}

void Bpe::Encoder::merge(std::span<const int32_t> symbols, std::vector<int32_t>& out) {
  const auto count = static_cast<int32_t>(symbols.size());
  // The heap's top is the lowest rank, and among equals the leftmost.
  const auto later = [](const Merge& a, const Merge& b) { return a.rank != b.rank ? a.rank > b.rank : a.position > b.position; };
  symbols_.clear();
  queue_.clear();
  for (int32_t i = 0; i < count; ++i) symbols_.push_back({symbols[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  for (int32_t i = 0; i + 1 < count; ++i)
    if (const Rule* rule = bpe_.rule(symbols[static_cast<size_t>(i)], symbols[static_cast<size_t>(i) + 1])) queue_.push_back({rule->rank, i, rule->id});
  std::make_heap(queue_.begin(), queue_.end(), later);
  const auto push = [&](int32_t left, int32_t right) {
    const Rule* rule = bpe_.rule(symbols_[static_cast<size_t>(left)].id, symbols_[static_cast<size_t>(right)].id);
    if (!rule) return;
    queue_.push_back({rule->rank, left, rule->id});
    std::push_heap(queue_.begin(), queue_.end(), later);
  };
  while (!queue_.empty()) {
    std::pop_heap(queue_.begin(), queue_.end(), later);
    const Merge top = queue_.back();
    queue_.pop_back();
    Symbol& left = symbols_[static_cast<size_t>(top.position)];
    if (left.id < 0 || left.next < 0) continue;  // gone, or the last one
    Symbol& right = symbols_[static_cast<size_t>(left.next)];
    const Rule* rule = bpe_.rule(left.id, right.id);
    if (!rule || rule->id != top.id) continue;  // a neighbour has changed since
    left.id = top.id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbols_[static_cast<size_t>(left.next)].previous = top.position;
    if (left.previous >= 0) push(left.previous, top.position);
    if (left.next >= 0) push(top.position, left.next);
  }
  for (int32_t i = 0; i >= 0; i = symbols_[static_cast<size_t>(i)].next) out.push_back(symbols_[static_cast<size_t>(i)].id);
}

}  // namespace canvaslab
