-- Splits the table of notifications into 16 by stream, for PostgreSQL 13 or later, in one
-- transaction: stop the workers, run it with psql -1 -f, start them again.
--
-- By stream and not by time: the offsets of a stream are unique because one index of one table
-- says so, and every hot query names its stream. Pruning goes on deleting rows, sixteen smaller
-- tables are vacuumed side by side.
--
-- The price: no foreign key can point to notifications any more, because (id) alone is unique in
-- no partition. Receipts are deleted before their notification by the app itself; who deletes
-- notifications by raw SQL deletes their receipts too. And a primary key cannot be: a notification
-- that is still to be placed in its stream has none. It lies in the first partition until then, and
-- moves when it is placed; withdrawing it in that very moment fails with a serialization error.

DO $$
DECLARE
    found name;
BEGIN
    FOR found IN
        SELECT conname FROM pg_constraint
        WHERE contype = 'f' AND confrelid = 'notifications_notification'::regclass
          AND conrelid = 'notifications_receipt'::regclass
    LOOP
        EXECUTE format('ALTER TABLE notifications_receipt DROP CONSTRAINT %I', found);
    END LOOP;
END $$;

ALTER TABLE notifications_notification RENAME TO notifications_notification_whole;
ALTER TABLE notifications_notification_whole ALTER id DROP IDENTITY;
CREATE SEQUENCE notifications_notification_id_seq AS bigint;
SELECT setval(
    'notifications_notification_id_seq',
    (SELECT coalesce(max(id), 0) + 1 FROM notifications_notification_whole),
    false
);

CREATE TABLE notifications_notification (
    LIKE notifications_notification_whole INCLUDING CONSTRAINTS INCLUDING STORAGE,
    CONSTRAINT notification_id UNIQUE (id, stream_id),
    FOREIGN KEY (stream_id) REFERENCES notifications_stream DEFERRABLE INITIALLY DEFERRED
) PARTITION BY HASH (stream_id);
ALTER TABLE notifications_notification
    ALTER id SET DEFAULT nextval('notifications_notification_id_seq');
ALTER SEQUENCE notifications_notification_id_seq OWNED BY notifications_notification.id;

DO $$
BEGIN
    FOR number IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE notifications_notification_%s PARTITION OF notifications_notification '
            'FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
            lpad(number::text, 2, '0'), number
        );
    END LOOP;
END $$;

DO $$
DECLARE
    actor text;
BEGIN
    -- Whatever the table of users is called.
    SELECT pg_get_constraintdef(oid) INTO actor FROM pg_constraint
    WHERE contype = 'f' AND conrelid = 'notifications_notification_whole'::regclass
      AND pg_get_constraintdef(oid) LIKE 'FOREIGN KEY (actor_id)%';
    EXECUTE 'ALTER TABLE notifications_notification ADD ' || actor;
END $$;

INSERT INTO notifications_notification SELECT * FROM notifications_notification_whole;

-- What the foreign keys still have to look at would stand in the way of what follows.
SET CONSTRAINTS ALL IMMEDIATE;
DROP TABLE notifications_notification_whole;

ALTER TABLE notifications_notification
    ADD CONSTRAINT notification_offset UNIQUE (stream_id, "offset");
CREATE UNIQUE INDEX notification_key ON notifications_notification (stream_id, key)
    WHERE key IS NOT NULL;
CREATE INDEX notification_unplaced ON notifications_notification (channel, key)
    WHERE channel IS NOT NULL;
CREATE INDEX notification_waiting ON notifications_notification (publish_at, id)
    WHERE "offset" IS NULL AND withdrawn_at IS NULL;
CREATE INDEX notification_stream_waiting ON notifications_notification (stream_id)
    WHERE "offset" IS NULL AND withdrawn_at IS NULL;
CREATE INDEX notification_inbox
    ON notifications_notification (stream_id, published_at DESC, id DESC)
    WHERE "offset" IS NOT NULL;
CREATE INDEX notification_actor ON notifications_notification (actor_id)
    WHERE actor_id IS NOT NULL;
CREATE INDEX notifications_notification_id ON notifications_notification (id);
ANALYZE notifications_notification;
