/* The C interface of plug-in libraries: samplers, stop rules and schedules in a shared object of their own, loaded with
 * --plugin foo.so. Plain C: it may be written in any language that makes C structs and functions, with any compiler.
 *
 *   canvaslab plugin new foo    writes a buildable folder: foo.cpp, build.sh and a copy of this header
 *   canvaslab check foo.so      runs the contract on everything the library holds
 *
 * Rules for both sides:
 * - Every struct starts with `size`, which its maker sets to sizeof of the struct as he knows it. Fields are only ever
 *   added at the end; a library is refused when its structs are longer than the program knows (it needs a newer program).
 * - `abi_version` changes when old libraries can no longer be served.
 * - What the library returns (structs, strings) stays valid until the program ends. What the program passes is valid
 *   during the call only.
 * - Functions are called from several threads at once. An instance holds configuration and nothing else: what a canvas
 *   needs to remember goes into `scratch`.
 * - No exception may leave a function. A library runs inside the program: it can bring it down. What must not be able to
 *   do that belongs into external(command=...) (core/external_protocol.h).
 * - Functions marked "may be null" need not exist; all others must.
 */
#ifndef CANVASLAB_PLUGIN_ABI_H
#define CANVASLAB_PLUGIN_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CANVASLAB_ABI_VERSION 1

/* --- parameters: one typed table drives parsing, bounds, defaults, `canvaslab list` and the stored configuration */

enum {
  CANVASLAB_REAL = 0,
  CANVASLAB_INTEGER = 1,
  CANVASLAB_BOOLEAN = 2,
  CANVASLAB_TEXT = 3,
  CANVASLAB_SCHEDULE = 4 /* samplers only: a number or a schedule, evaluated for each step (CanvaslabStep.knobs) */
};

typedef struct CanvaslabParameter {
  uint32_t size;
  uint32_t type;             /* CANVASLAB_REAL ... CANVASLAB_SCHEDULE */
  const char* name;          /* lower case, words joined by '_' */
  const char* default_text;  /* as it would be written: "0.5", "true"; null: must be given */
  const char* unit;          /* may be null */
  const char* doc;           /* one line */
  double min, max;           /* inclusive; -INFINITY and INFINITY: no bound; not read for booleans and texts */
  const char* const* choices; /* texts: the words allowed, a null pointer behind the last; may be null: any */
} CanvaslabParameter;

/* A parameter's value, checked against the table. Schedules are not among them: see CanvaslabStep.knobs. */
typedef struct CanvaslabValue {
  uint32_t size;
  uint32_t type;
  const char* name;
  double real;      /* CANVASLAB_REAL */
  int64_t integer;  /* CANVASLAB_INTEGER; CANVASLAB_BOOLEAN: 0 or 1 */
  const char* text; /* CANVASLAB_TEXT, else null */
} CanvaslabValue;

/* Where a function writes why it failed: at most `capacity` bytes with the final 0. */
typedef struct CanvaslabError {
  uint32_t size;
  uint32_t capacity;
  char* text;
} CanvaslabError;

/* --- one step, as samplers and stop rules see it */

/* Families of statistics. Only what is declared is computed; pointers of the others are null. */
enum {
  CANVASLAB_MAX = 1,         /* argmax, argmax_logprob */
  CANVASLAB_TOP2 = 2,        /* second, second_logprob */
  CANVASLAB_ENTROPY = 4,     /* entropy_nats */
  CANVASLAB_CANDIDATE = 8,   /* candidate, candidate_logprob */
  CANVASLAB_CURRENT = 16,    /* current_logprob: of the token the canvas holds */
  CANVASLAB_UNTEMPERED = 32, /* argmax_logprob_t1, entropy_t1_nats: the same at temperature 1 */
  CANVASLAB_DIVERGENCE = 64, /* kl_nats: from the step before */
  CANVASLAB_ALTERNATIVE = 128 /* alternative */
};

/* What a uniform draw is for: draws of different purposes are independent. */
enum {
  CANVASLAB_ROUTE = 3,        /* which of several routes a position takes */
  CANVASLAB_POSITION_KEY = 5, /* an order of positions */
  CANVASLAB_OWN = 7           /* anything else */
};

typedef struct CanvaslabStep {
  uint32_t size;
  int32_t step_idx;   /* counts up from 0 */
  int32_t num_steps;  /* step limit */
  int32_t is_last;    /* 1: no step follows */
  int32_t vocabulary; /* token ids lie in [0, vocabulary) */
  int32_t length;     /* L, positions of the canvas */
  double temperature; /* of candidates and statistics */
  double level_now;   /* survival probability of a clean token in the canvas fed in ... */
  double level_next;  /* ... and after this step */
  const double* knobs; /* [num_knobs] values of CANVASLAB_SCHEDULE parameters at this step, in the order of the table */
  int32_t num_knobs;
  int32_t reserved;              /* 0 */
  const int32_t* canvas;         /* [L] tokens that were fed in */
  const uint8_t* allowed;        /* [L] 0: pinned, will not change whatever is decided */
  /* Log-probabilities are natural, under softmax(logits / temperature). */
  const int32_t* argmax;         /* [L] ties: lowest id */
  const float* argmax_logprob;   /* [L] */
  const int32_t* second;         /* [L] best id other than argmax */
  const float* second_logprob;   /* [L] */
  const float* entropy_nats;     /* [L] in [0, ln vocabulary] */
  const int32_t* candidate;      /* [L] drawn from softmax(logits / temperature) */
  const float* candidate_logprob; /* [L] */
  const float* current_logprob;  /* [L] */
  const float* argmax_logprob_t1; /* [L] */
  const float* entropy_t1_nats;  /* [L] */
  const float* kl_nats;          /* [L] infinite at the first step */
  const int32_t* alternative;    /* [L] drawn without the canvas's token */
  /* The engine's randomness: uniform in (0, 1), a pure function of row, canvas, step, purpose and position. There is no
   * other source of randomness: a generator in the library would make results depend on batch and threads. */
  double (*uniform)(const struct CanvaslabStep* step, int32_t purpose, int32_t position);
  const void* engine;            /* for `uniform` */
} CanvaslabStep;

/* --- samplers */

/* What happens to a position. The engine applies it; samplers never touch tokens or noise. */
enum {
  CANVASLAB_KEEP = 0,      /* the canvas token stays */
  CANVASLAB_TAKE = 1,      /* takes this step's candidate */
  CANVASLAB_TAKE_BEST = 2, /* takes this step's argmax */
  CANVASLAB_NOISE = 3,     /* takes fresh noise */
  CANVASLAB_TOKEN = 4      /* takes CanvaslabDecision.token */
};

/* State of one canvas: the same memory at each of its steps, all 0 before the first. */
typedef struct CanvaslabState {
  uint32_t size;
  int32_t num_scratch;
  uint8_t* revealed;  /* [L] 1: the sampler holds the position for final; needs CANVASLAB_LOCKS */
  double* scratch;    /* [num_scratch] the sampler's own memory, as many as scratch_length said; null when none */
} CanvaslabState;

typedef struct CanvaslabDecision {
  uint32_t size;
  int32_t reserved;
  uint8_t* action;  /* [L] to be written; CANVASLAB_KEEP everywhere before the call */
  int32_t* token;   /* [L] to be written where the action is CANVASLAB_TOKEN */
} CanvaslabDecision;

/* Facts that the engine and the contract tests lean on. A wrong one is found by `canvaslab check`. */
enum {
  CANVASLAB_NEEDS_LEVEL = 1,  /* the engine tells the denoiser the noise level of a linear path */
  CANVASLAB_REVOCABLE = 2,    /* a taken position may change again */
  CANVASLAB_LOCKS = 4,        /* keeps CanvaslabState.revealed */
  CANVASLAB_EDITS_ONLY = 8,   /* makes no noise */
  CANVASLAB_FIXED_STEPS = 16, /* runs exactly num_steps steps; the last one leaves no noise */
  CANVASLAB_ORDERED = 32,     /* decisions depend on where a position lies */
  CANVASLAB_PRODUCT_LAW = 64, /* positions decide independently given the canvas, and nothing is remembered */
  CANVASLAB_UNIFORM_ONLY = 128 /* its formulas hold for uniform noise over the whole vocabulary only */
};

typedef struct CanvaslabSampler {
  uint32_t size;
  uint32_t statistics;           /* CANVASLAB_MAX | ... */
  const char* name;              /* lower case, words joined by '_' */
  const char* summary;           /* one line without a full stop */
  const char* source;            /* the paper, section or repository that defines it, or "ours" */
  const CanvaslabParameter* const* parameters; /* [num_parameters] pointers */
  uint32_t num_parameters;
  uint32_t facts;                /* CANVASLAB_REVOCABLE | ... */
  int32_t min_accepted;          /* at least this many open positions are taken at a step, while there are as many */
  int32_t reserved;
  const char* default_stop;      /* stop rule expression; null: never */
  const char* default_emission;  /* "argmax" or "canvas"; null: what the denoiser prefers */
  /* An instance for these values, or null with a reason in `error`. May be null: instances are then null pointers. */
  void* (*create)(const CanvaslabValue* const* values, uint32_t num_values, CanvaslabError* error);
  void (*destroy)(void* instance); /* may be null */
  /* Doubles of scratch for a canvas of `length` positions. May be null: none. */
  int32_t (*scratch_length)(const void* instance, int32_t length);
  /* Decides every position. Returns 0, or anything else with a reason in `error`: that fails the sample, not the run. */
  int32_t (*step)(const void* instance, const CanvaslabStep* step, CanvaslabState* state, CanvaslabDecision* decision, CanvaslabError* error);
} CanvaslabSampler;

/* --- stop rules */

/* The argmax canvases of earlier steps of this canvas. */
typedef struct CanvaslabHistory {
  uint32_t size;
  int32_t num_steps;
  const int32_t* const* argmax;  /* [num_steps] pointers to [L], oldest first */
  const uint8_t* action;         /* [L] what the sampler decided at this step, not applied yet */
  const uint8_t* revealed;       /* [L] as the sampler left it at this step */
} CanvaslabHistory;

typedef struct CanvaslabStopRule {
  uint32_t size;
  uint32_t statistics;
  const char* name;
  const char* summary;
  const char* source;
  const CanvaslabParameter* const* parameters;
  uint32_t num_parameters;
  int32_t breaks_level;          /* 1: may end a canvas before its noise level reached clean */
  void* (*create)(const CanvaslabValue* const* values, uint32_t num_values, CanvaslabError* error);
  void (*destroy)(void* instance);
  /* 0: go on; 1: stop, for the reason that is the rule's name; anything else: failed, with a reason in `error`. Pure. */
  int32_t (*check)(const void* instance, const CanvaslabStep* step, const CanvaslabHistory* history, CanvaslabError* error);
} CanvaslabStopRule;

/* --- schedules: pure functions of progress u = min(1, step_idx / num_steps) */

typedef struct CanvaslabSchedule {
  uint32_t size;
  uint32_t num_parameters;
  const char* name;
  const char* summary;
  const char* source;
  const CanvaslabParameter* const* parameters;
  void* (*create)(const CanvaslabValue* const* values, uint32_t num_values, CanvaslabError* error);
  void (*destroy)(void* instance);
  /* The value at a step; never NaN. Steps beyond num_steps have the value at its end. */
  double (*value)(const void* instance, int32_t step_idx, int32_t num_steps);
  /* Writes the smallest and the largest value over all progress: what bounds are checked against. */
  void (*range)(const void* instance, double* low, double* high);
} CanvaslabSchedule;

/* --- the library */

typedef struct CanvaslabPlugin {
  uint32_t size;
  uint32_t abi_version;  /* CANVASLAB_ABI_VERSION */
  uint32_t num_samplers, num_stop_rules, num_schedules;
  uint32_t reserved;
  const CanvaslabSampler* const* samplers;
  const CanvaslabStopRule* const* stop_rules;
  const CanvaslabSchedule* const* schedules;
} CanvaslabPlugin;

/* The one symbol that a library exports. */
const CanvaslabPlugin* canvaslab_plugin(void);

#ifdef __cplusplus
}
#endif
#endif
