package forgeproxy

import (
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// passing are the header fields of the backend's that the forge sees. All others are
// dropped: with some a proxy or the forge takes the request for somebody else's (Sudo,
// X-Webauth-User, Cookie), for another one (X-Original-Url, X-Http-Method-Override), or
// answers in a form in which a token would not be found (Accept-Encoding, Range).
var passing = []string{"Accept", "Accept-Language", "If-Modified-Since", "If-None-Match", "User-Agent"}

// forGit pass, too, where the operator has opened git.
var forGit = []string{"Content-Encoding", "Git-Protocol"}

// impostors are parameters by which the forge would take the request for another user's
// than the token's, or for one with another method.
var impostors = []string{"sudo", "token", "access_token", "private_token", "_method"}

var (
	errParameter = malformed("a parameter that names a token, a user or a method is not allowed")
	errBody      = malformed("the body has to be JSON (application/json), or, where a file is uploaded, multipart/form-data with the field attachment")
)

func impostor(name string) bool {
	return slices.ContainsFunc(impostors, func(i string) bool { return strings.EqualFold(i, name) })
}

// clean leaves of r what the forge is to see.
func clean(r *http.Request, d forgeapi.Decision) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return malformed("the query can be read in several ways")
	}
	for name := range query {
		if impostor(name) {
			return errParameter
		}
	}
	header, types := http.Header{"Accept-Encoding": {"identity"}}, r.Header["Content-Type"]
	for _, name := range passing {
		if v := r.Header[name]; v != nil {
			header[name] = v
		}
	}
	if d.Has(forgeapi.ClassGit) {
		for _, name := range forGit {
			if v := r.Header[name]; v != nil {
				header[name] = v
			}
		}
	}
	compressed := r.Header["Content-Encoding"] != nil && header["Content-Encoding"] == nil
	keepRange(r)
	r.Header, r.Trailer = header, nil
	if r.ContentLength == 0 && len(types) == 0 {
		return nil
	}
	if len(types) != 1 || compressed {
		return errBody
	}
	return cleanBody(r, d, types[0])
}

// cleanBody has the forge take the body for what it is checked as.
func cleanBody(r *http.Request, d forgeapi.Decision, contentType string) error {
	kind, parameters, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return errBody
	case kind == "application/json":
		r.Body = &jsonBody{ReadCloser: r.Body}
	case kind == "multipart/form-data" && d.Has(forgeapi.ClassUpload):
		r.Body, contentType = upload(r.Body, parameters["boundary"])
		r.ContentLength = -1
	case d.Has(forgeapi.ClassGit) && strings.HasPrefix(kind, "application/x-git-"),
		d.Has(forgeapi.ClassLFS) && (kind == "application/vnd.git-lfs+json" || kind == "application/octet-stream"):
	default:
		return errBody
	}
	r.Header["Content-Type"] = []string{contentType}
	return nil
}

// upload writes the form anew, so that the forge reads in it what was read here: files
// in fields called attachment, and nothing else.
func upload(body io.ReadCloser, boundary string) (io.ReadCloser, string) {
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	go func() {
		w.CloseWithError(copyForm(form, multipart.NewReader(body, boundary)))
	}()
	return &uploaded{r, body}, form.FormDataContentType()
}

// uploaded is a form that is written anew, and closes the body that it is made of.
type uploaded struct {
	*io.PipeReader
	body io.Closer
}

func (u *uploaded) Close() error {
	u.PipeReader.Close()
	return u.body.Close()
}

func copyForm(to *multipart.Writer, from *multipart.Reader) error {
	for {
		part, err := from.NextRawPart()
		if err == io.EOF {
			return to.Close()
		}
		if err != nil || part.FormName() != "attachment" || part.FileName() == "" {
			return errBody
		}
		header := textproto.MIMEHeader{"Content-Disposition": {multipart.FileContentDisposition("attachment", part.FileName())}}
		if kind := part.Header.Get("Content-Type"); kind != "" {
			header.Set("Content-Type", kind)
		}
		out, err := to.CreatePart(header)
		if err == nil {
			_, err = io.Copy(out, part)
		}
		if err != nil {
			return err
		}
	}
}

// jsonBody fails when a name in the object that it reads is an impostor.
type jsonBody struct {
	io.ReadCloser
	depth            int
	naming           bool // the next string at depth 1 is a name
	quoted, escaping bool
	name             []byte // with its escapes
}

func (j *jsonBody) Read(p []byte) (int, error) {
	n, err := j.ReadCloser.Read(p)
	for _, c := range p[:n] {
		if j.quoted {
			if j.string(c) {
				return 0, errParameter
			}
			continue
		}
		switch c {
		case '"':
			j.quoted, j.name = true, j.name[:0]
		case '{', '[':
			j.depth++
			j.naming = c == '{'
		case '}', ']':
			j.depth--
		case ',':
			j.naming = true
		case ':':
			j.naming = false
		}
	}
	return n, err
}

// string takes a character within a string and reports whether it ends an impostor.
func (j *jsonBody) string(c byte) bool {
	const longest = len(`\u0070`) * len("private_token")
	switch {
	case j.escaping:
		j.escaping = false
	case c == '\\':
		j.escaping = true
	case c == '"':
		j.quoted = false
		var name string
		return j.naming && j.depth == 1 && json.Unmarshal([]byte(`"`+string(j.name)+`"`), &name) == nil && impostor(name)
	}
	if len(j.name) <= longest {
		j.name = append(j.name, c)
	}
	return false
}
