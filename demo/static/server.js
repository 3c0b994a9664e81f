// Questions to the server, in JSON.

const PATIENCE = 5000; // milliseconds for an answer
const REASONS = { TimeoutError: "The server has not answered in 5 seconds.", TypeError: "The server cannot be reached." };

// The answer, and what its status means.
export async function post(path, content) {
  try {
    const [body, headers] = [JSON.stringify(content), { "Content-Type": "application/json" }];
    const response = await fetch(path, { method: "POST", body, headers, signal: AbortSignal.timeout(PATIENCE) });
    const { status } = response;
    const meaning = { isRefusal: status >= 400 && status < 500, isBusy: status === 503, isFailure: status >= 500 };
    return { ...(await response.json()), ...meaning };
  } catch (error) {
    return { error: REASONS[error.name] ?? "The server has failed.", isFailure: true };
  }
}
