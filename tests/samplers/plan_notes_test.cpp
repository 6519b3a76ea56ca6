// Combinations that run but rarely mean what they say are told; plain ones are not.
#include "samplers/contract.h"
#include "samplers/plan_notes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> notes(PlanRequest request, const std::string& denoiser = "hmm(states=3, alphabet=5, length=4)") {
  const auto made = denoisers().make(denoiser);
  return plan_notes(resolve_plan(request, *made), *made);
}
PlanRequest request_of(const std::string& sampler) {
  PlanRequest request;
  request.sampler = sampler;
  return request;
}

TEST(PlanNotes, EverySamplersOwnDefaultsNeedNone) {
  for (const auto& entry : samplers().entries()) {
    if (!contract::has_defaults(entry)) continue;
    if (entry.name == "ar") continue;  // always says which settings have no part in it
    EXPECT_THAT(notes(request_of(entry.name)), IsEmpty()) << entry.name;
  }
}

TEST(PlanNotes, TellWhatSurprises) {
  PlanRequest request = request_of("entropy_bound");
  request.emission = "canvas";
  EXPECT_THAT(notes(request), ElementsAre(HasSubstr("fresh noise")));
  request.stop = "never";  // ends at the step limit only: noise there is the sampler's own doing, and the sweep over emissions shows it
  EXPECT_THAT(notes(request), IsEmpty());
  request = request_of("entropy_bound");
  for (const char* stop : {"all_revealed", "left_complete", "all_of(all_revealed, entropy)", "any_of(all_revealed, left_complete)"}) {
    request.stop = stop;
    EXPECT_FALSE(notes(request).empty()) << stop;
  }
  request.stop = "any_of(all_revealed, entropy)";
  EXPECT_THAT(notes(request), IsEmpty()) << "the other child can still fire";
  request = request_of("fixed_step");
  request.stop = "accepted_all";
  EXPECT_THAT(notes(request), ElementsAre(HasSubstr("all_revealed is its end")));
  request = request_of("entropy_bound");
  request.stop = "stall";
  EXPECT_THAT(notes(request), ElementsAre(HasSubstr("progress=more")));
  request.stop = "stall(progress=more)";
  EXPECT_THAT(notes(request), IsEmpty());
  request = request_of("block_refinement");
  request.top_p = 0.9;
  EXPECT_THAT(notes(request), ElementsAre(HasSubstr("unfiltered")));
  request.stats_on = "unfiltered";
  EXPECT_THAT(notes(request), IsEmpty());
  request = request_of("ddim");
  request.temperature = "0.7";
  EXPECT_THAT(notes(request), ElementsAre(HasSubstr("derived for temperature 1")));
  EXPECT_THAT(notes(request_of("ddim"), "hmm(states=3, alphabet=5, length=4, use_level=off)"), ElementsAre(HasSubstr("not told")));
  request = request_of("causal_verify");
  request.emission = "argmax";
  EXPECT_THAT(notes(request), ElementsAre(HasSubstr("coupled")));
}

}  // namespace
}  // namespace canvaslab
