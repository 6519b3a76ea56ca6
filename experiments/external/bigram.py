"""A denoiser: each token likes to be one more than the token before it.

canvaslab generate --model 'external(command="python3 experiments/external/bigram.py")' --steps 8
"""
import canvaslab_client as canvaslab


class Bigram(canvaslab.Denoiser):
    vocabulary = 10
    suggests = {"canvas_length": 16, "num_steps": 16, "temperature": "constant(1)"}

    def __init__(self, sharpness=4.0):
        self.sharpness = sharpness

    def logits(self, request):
        before = [request.context[-1] if len(request.context) else 0] + request.canvas.tolist()[:-1]
        return [[self.sharpness if v == (b + 1) % self.vocabulary else 0.0 for v in range(self.vocabulary)] for b in before]


canvaslab.serve(Bigram)
