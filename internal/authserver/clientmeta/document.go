package clientmeta

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// Client returns the client behind a client id that is a URL. The error is an
// *Error, or the context's.
func (f *Fetcher) Client(ctx context.Context, id string) (model.Client, error) {
	if err := oauth.ValidateDocumentID(id); err != nil {
		return model.Client{}, &Error{"its URL cannot be used: " + err.Error(), false, nil}
	}
	c, err := f.documents.get(ctx, id, time.Time{})
	var failure *Error
	if err == nil || !errors.As(err, &failure) {
		return c, err
	}
	f.log.InfoContext(ctx, "cannot read a client's metadata document", "client_id", id, "reason", failure.Reason, "error", failure.cause)
	if c, ok := knownClients[id]; ok && failure.Unreachable {
		f.log.InfoContext(ctx, "using the copy of the document that this version came with", "client_id", id)
		return c, nil
	}
	return c, err
}

func parseClient(url string, body []byte, cfg Config) (model.Client, error) {
	c, err := oauth.ParseDocument(url, body, cfg.Schemes, cfg.DeviceGrant)
	if err == nil && c.JWKS != "" {
		_, err = ParseKeys([]byte(c.JWKS))
	}
	return c, err
}

// known holds the documents of well-known public clients as their publishers
// served them in September 2026. claude.ai at times answers servers with a
// challenge meant for bots (status 403); without a copy nobody behind such a
// server could connect.
//
//go:embed known/*.json
var known embed.FS

var knownClients = mustReadKnown()

func mustReadKnown() map[string]model.Client {
	clients := map[string]model.Client{}
	files, _ := fs.Glob(known, "known/*.json")
	for _, file := range files {
		var d struct {
			ClientID string `json:"client_id"`
		}
		body, err := known.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(body, &d)
		}
		if err == nil {
			clients[d.ClientID], err = oauth.ParseDocument(d.ClientID, body, nil, false)
		}
		if err != nil {
			panic(file + ": " + err.Error()) // embedded at build time
		}
	}
	return clients
}
