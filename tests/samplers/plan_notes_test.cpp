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

TEST(PlanNotes, TellWhatTheModelIsNotOrAlreadyHas) {
  PlanRequest request = request_of("entropy_bound");
  request.temperature = "linear(0.5, 0)";
  EXPECT_THAT(notes(request), IsEmpty()) << "the ramp ends before it reaches 0";
  request.temperature = "0";
  EXPECT_THAT(notes(request), ElementsAre(HasSubstr("every entropy is 0")));
  request.sampler = "fixed_step";
  EXPECT_THAT(notes(request), IsEmpty()) << "reads no entropy";
  request = request_of("entropy_bound");
  for (const char* stop : {"prophet", "any_of(never, sched)"}) {
    request.stop = stop;
    EXPECT_THAT(notes(request), ElementsAre(HasSubstr("LLaDA"))) << stop;
  }
  request.stop = "prophet(early=9)";
  EXPECT_THAT(notes(request), IsEmpty()) << "somebody chose";
  // A model that ends texts, and brings an entropy bound for canvases of its own length.
  const std::string model = "checkpoint(\"" CANVASLAB_SOURCE_DIR "/tests/network/goldens/base\")";
  const auto made = denoisers().make(model);
  const auto& defaults = made->facts().defaults;
  ASSERT_TRUE(defaults.canvas_length && !defaults.end_ids.empty());
  request = request_of("confidence_threshold");
  request.stop = "any_of(never, left_complete)";
  EXPECT_THAT(notes(request, model), ElementsAre(HasSubstr("end_ids=\"" + fmt::format("{}", fmt::join(defaults.end_ids, " ")))));
  request.stop = "left_complete(end_ids=1)";
  EXPECT_THAT(notes(request, model), IsEmpty());
  request = request_of("spacing(entropy_bound)");
  EXPECT_THAT(notes(request, model), IsEmpty());
  request.canvas_length = *defaults.canvas_length + 1;
  EXPECT_THAT(notes(request, model), ElementsAre(HasSubstr("sum over its own canvas")));
  request.sampler = "spacing(entropy_bound(7))";
  EXPECT_THAT(notes(request, model), IsEmpty()) << "a bound of one's own";
}

}  // namespace
}  // namespace canvaslab
