#pragma once
// The Python programs that run inside the sandbox, from eval/sandbox/python/.

namespace canvaslab::sandbox_text {

extern const char* const kFrames;   ///< messages and values; stands before each of the others
extern const char* const kProgram;  ///< one program, as a process of its own
extern const char* const kPlayer;   ///< a program whose functions are called
extern const char* const kContest;  ///< a program as LiveCodeBench's own grader runs it
extern const char* const kJudge;    ///< unit tests, whose candidate runs elsewhere

}  // namespace canvaslab::sandbox_text
