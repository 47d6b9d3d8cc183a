-- Splits the table of notifications into 16 partitions by stream, in one transaction. It needs
-- PostgreSQL 13 or later. Stop the workers, run it with psql -1 -f, and start them again.
--
-- The partitions are by stream and not by time, because offsets must be unique in a stream, which
-- only an index with the partition key ensures, and because every hot query names its stream.
-- Pruning still deletes rows, and the sixteen smaller tables are vacuumed in parallel.
--
-- There are two drawbacks. First, no foreign key can reference notifications any more, because a
-- unique index on (id) alone is not possible. The app itself deletes receipts before their
-- notification; if you delete notifications with raw SQL, delete their receipts, too. Second, the
-- table has no primary key, because stream_id is null until a notification is placed in its stream.
-- Until then the row is in the first partition, and placing moves it. A withdrawal at the same time
-- fails with a serialization error.

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
    -- Copied, because the name of the user table depends on AUTH_USER_MODEL.
    SELECT pg_get_constraintdef(oid) INTO actor FROM pg_constraint
    WHERE contype = 'f' AND conrelid = 'notifications_notification_whole'::regclass
      AND pg_get_constraintdef(oid) LIKE 'FOREIGN KEY (actor_id)%';
    EXECUTE 'ALTER TABLE notifications_notification ADD ' || actor;
END $$;

INSERT INTO notifications_notification SELECT * FROM notifications_notification_whole;

-- Run the deferred checks of the foreign keys now: pending ones would block the DDL below.
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
CREATE INDEX notification_inbox
    ON notifications_notification (stream_id, published_at DESC, id DESC)
    WHERE "offset" IS NOT NULL;
CREATE INDEX notification_actor ON notifications_notification (actor_id)
    WHERE actor_id IS NOT NULL;
CREATE INDEX notification_listed ON notifications_notification (id DESC)
    WHERE duplicate_of_id IS NULL AND publication IS NULL;
CREATE INDEX notifications_notification_id ON notifications_notification (id);
ANALYZE notifications_notification;
