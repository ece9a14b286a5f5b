"""Step 6, exponential bounds on the 0-1 error, its floor and its rate.

bayes             about the Bayes error of noisy prompts: the posterior, and how far above it training ends
error_curve       about the 0-1 error of an ensemble: how fast it falls, and to which floor
escape            about the mechanism of the rate: delayed escape from the initial plateau
extinction        about extinction: gates of one sign all shut for ever, the floor of the error curve
full_and_reduced  that the full model and the reduced recursion have one error curve: path by path, and as independent ensembles
pinelis           about an exponential bound on the 0-1 error of SGD: every step of its proof, and where it says anything
rare              about errors too rare to be counted: splitting, and how far down the error stays exponential
rate_of_error     about how fast the error falls: at least exponentially, and faster than slower laws
starts            Where the seeds of the exponential bound start, what is allowed for them, and the judged seeds themselves
"""
