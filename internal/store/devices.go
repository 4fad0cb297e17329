package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// DeviceRequest is what a client without a browser asks for (RFC 8628 §3.1), until a user
// has answered it elsewhere and the client has fetched the answer. Both of its codes are
// known by hashes only.
type DeviceRequest struct {
	ID        string // ours, no credential
	ClientID  string
	Requested string    // scope, see model.Grant
	Resource  string    // RFC 8707; may be empty
	Address   string    // that it came from, as the limits count it
	CreatedAt time.Time `gorm:"autoCreateTime:false;serializer:ms"`
	ExpiresAt time.Time `gorm:"serializer:ms"`
	Interval  int       // seconds that have to be between two polls
}

type deviceRow struct {
	DeviceRequest `gorm:"embedded"`
	Hash          []byte // SHA-256 of the device code
	UserHash      []byte // of the user code, see userCodeHash
	PolledAt      int64
	DeniedAt      int64
	GrantID       string // of the user who agreed
	UsedAt        int64
}

func (deviceRow) TableName() string { return "device_requests" }

// userCodeHash is the purpose of the MAC by which a user code is known. All user codes can
// be tried within minutes, so a hash that needs no key would hide nothing.
const userCodeHash = "device user code 1"

// CreateDeviceRequest stores a request and its codes, the user code as its letters. An
// error is all there is for a user code that another open request has: one of 20^8.
func (s *Store) CreateDeviceRequest(ctx context.Context, d DeviceRequest, deviceCode, userCode string) error {
	row := &deviceRow{DeviceRequest: d, Hash: model.Hash(deviceCode), UserHash: s.keys.Tag(userCodeHash, userCode)}
	return s.db.Update(ctx, func(db *gorm.DB) error { return db.Create(row).Error })
}

// openRequest is of one that a user may answer.
const openRequest = "denied_at = 0 AND grant_id = '' AND expires_at > ?"

// DeviceRequestOf returns the open request of a user code. model.ErrNotFound: there is none.
func (s *Store) DeviceRequestOf(ctx context.Context, userCode string) (DeviceRequest, error) {
	r, err := take[deviceRow](s.db.Reader(ctx), "user_hash IN ? AND "+openRequest, s.keys.Tags(userCodeHash, userCode), ms(s.now()))
	return r.DeviceRequest, err
}

// DeviceRequest returns the open request of that id. model.ErrNotFound: there is none, or
// it was answered.
func (s *Store) DeviceRequest(ctx context.Context, id string) (DeviceRequest, error) {
	r, err := take[deviceRow](s.db.Reader(ctx), "id = ? AND "+openRequest, id, ms(s.now()))
	return r.DeviceRequest, err
}

// DeviceRequestByCode returns the request of a device code, whatever has become of it.
func (s *Store) DeviceRequestByCode(ctx context.Context, deviceCode string) (DeviceRequest, error) {
	r, err := take[deviceRow](s.db.Reader(ctx), "hash = ?", model.Hash(deviceCode))
	return r.DeviceRequest, err
}

// DenyDeviceRequest has the user say no. model.ErrNotFound: it was answered, or has expired.
func (s *Store) DenyDeviceRequest(ctx context.Context, id string) error {
	now := ms(s.now())
	return one(s.db.Exec(ctx, "UPDATE device_requests SET denied_at = ? WHERE id = ? AND "+openRequest, now, id, now))
}

// FinishDeviceLogin is FinishLogin for a login that answers a device. model.ErrExpired: its
// request was answered meanwhile, or has expired.
func (s *Store) FinishDeviceLogin(ctx context.Context, l Login, g model.Grant) (first bool, err error) {
	err = s.db.Update(ctx, func(tx *gorm.DB) error {
		if err := endLogin(tx, l.StateHash, g.UserID); err != nil {
			return err
		}
		err := one(tx.Exec("UPDATE device_requests SET grant_id = ? WHERE id = ? AND "+openRequest, g.ID, l.DeviceID, ms(s.now())))
		if errors.Is(err, model.ErrNotFound) {
			return model.ErrExpired
		}
		if err != nil {
			return err
		}
		if first, err = s.keepRegistered(tx, g.ClientID); err != nil {
			return err
		}
		return tx.Create(&grantRow{Grant: g}).Error
	})
	return first, err
}

const (
	// slower is how many seconds more have to be between two polls after one that came
	// too early (RFC 8628 §3.5).
	slower = 5
	// pollSlack is by how much a poll may come early: clients count from their own
	// requests, which take their time on the way.
	pollSlack = time.Second
)

// RedeemDevice trades a device code of the client by for the first tokens of its family,
// once. The family is bound to by's secret, if it has one. Errors: model.ErrPending while
// nobody has answered, model.ErrTooSoon for a poll before its time, whatever has become of
// the request, model.ErrDenied, and those of RedeemCode.
func (s *Store) RedeemDevice(ctx context.Context, deviceCode string, by model.Client, first Pair) (model.Grant, Pair, error) {
	var g grantRow
	var out Pair
	var verdict error // a refusal that must not roll back
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		r, err := takeLocked[deviceRow](tx, "hash = ? AND client_id = ?", model.Hash(deviceCode), by.ID)
		if err != nil {
			return err
		}
		if verdict, err = s.poll(tx, r); err != nil || verdict != nil {
			return err
		}
		if g, err = takeLocked[grantRow](tx, "id = ?", r.GrantID); err != nil {
			return err
		}
		if r.UsedAt != 0 {
			verdict = model.ErrReused
			return s.revoke(tx, g.ID)
		}
		if !g.RevokedAt.IsZero() {
			return model.ErrRevoked
		}
		res := tx.Exec("UPDATE device_requests SET used_at = ? WHERE id = ? AND used_at = 0", ms(s.now()), r.ID)
		if err := one(res); err != nil {
			return err
		}
		out, err = s.startFamily(tx, g, by, first)
		return err
	})
	if err == nil {
		err = verdict
	}
	return g.Grant, out, err
}

// poll notes that the client asked, and says why it gets nothing yet, or never, if so.
func (s *Store) poll(tx *gorm.DB, r deviceRow) (verdict, err error) {
	now := s.now()
	early := now.Sub(fromMS(r.PolledAt)) < time.Duration(r.Interval)*time.Second-pollSlack
	interval := r.Interval
	if early {
		interval += slower
	}
	err = tx.Exec("UPDATE device_requests SET polled_at = ?, interval = ? WHERE id = ?", ms(now), interval, r.ID).Error
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot note a poll: %w", err)
	case early:
		return model.ErrTooSoon, nil
	case r.UsedAt != 0:
		return nil, nil
	case r.DeniedAt != 0:
		return model.ErrDenied, nil
	case !r.ExpiresAt.After(now):
		return model.ErrExpired, nil
	case r.GrantID == "":
		return model.ErrPending, nil
	}
	return nil, nil
}
