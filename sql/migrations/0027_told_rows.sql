-- A look that changes no event is no news: told for each statement, as by migration 19, each one that finds an event made the
-- live page read everything anew. Of one transaction the same notification is sent once, however many rows it is told for.
DROP TRIGGER tell_change ON detected_event;
CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE ON detected_event
    FOR EACH ROW EXECUTE FUNCTION tell_change();
