package forgejo

import (
	"context"
	"encoding/json"
	"net/http"
)

// Version asks the forge for its version, without a token: the cheapest way to see
// that it is there. A forge that tells only those who are logged in gives "".
// Errors are *Error: Down or Misconfigured.
func (c *Client) Version(ctx context.Context) (string, error) {
	const op = "read the forge's version"
	resp, body, err := c.get(ctx, op, "api/v1/version", "")
	if err != nil {
		return "", err
	}
	refused := resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
	if refused && isJSON(resp) {
		return "", nil
	}
	var answer struct {
		Version string `json:"version"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil || answer.Version == "" {
		return "", statusError(op, resp.StatusCode)
	}
	return answer.Version, nil
}
